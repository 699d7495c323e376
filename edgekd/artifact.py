"""An Artifact: a sealed folder with the files of a stage, their hashes and their history."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from edgekd.errors import RunFolderError
from edgekd.store import file_sha256, seal, write_json

SEAL = "artifact.json"
WORK = "work"
SPENT = "spent.json"
"""What the making took: no two runs share it, so it is not sealed and no hash contains it."""
# fmt: off
Variant = Literal[
    "fp32", "fp16",
    "int8", "int8-tensorrt", "int8-xnnpack", "int8-dynamic",
    "int8-weights", "int4",
]
# fmt: on
"""The form of a network's weights and activations for a group of runtimes."""
FP32: Variant = "fp32"
"""The reference: every other variant is made from it and compared with it."""


@dataclass(frozen=True)
class Artifact:
    """`model.<variant>.onnx`, `preprocess.json` with `preprocess/`, and `model.pt` to train on."""

    folder: Path
    files: Mapping[str, str]  # path below folder -> sha256
    history: tuple[Mapping[str, Any], ...] = ()  # one entry per step: options, key

    @property
    def trainable(self) -> bool:
        """Whether a torch step can start from it."""
        return "model.pt" in self.files

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The ONNX variants it ships, FP32 first."""
        return self._variants("model")

    @property
    def previews(self) -> tuple[Variant, ...]:
        """The variants that were built early: a network faster in FP32 can be slower in INT8."""
        return self._variants("preview")

    def _variants(self, stem: str) -> tuple[Variant, ...]:
        parts = [name.split(".") for name in self.files]
        found = [part[1] for part in parts if part[0] == stem and part[2:] == ["onnx"]]
        return tuple(cast(Variant, name) for name in sorted(found, key=lambda n: (n != FP32, n)))

    @property
    def knowledge(self) -> dict[str, str]:
        """The files with what it has learned: a new opset changes the export, not these."""
        learned = {n: sha256 for n, sha256 in self.files.items() if not n.endswith(".onnx")}
        return learned if self.trainable else dict(self.files)

    def onnx(self, variant: Variant) -> Path:
        """Return the file of `variant`, which must be one of `variants`."""
        return self.folder / f"model.{variant}.onnx"

    def preview(self, variant: Variant) -> Path:
        """Return the early file of `variant`, which must be one of `previews`."""
        return self.folder / f"preview.{variant}.onnx"

    def sha256(self, path: Path) -> str:
        """Return the recorded hash of one of its files."""
        return self.files[path.name]


def open_artifact(folder: Path) -> Artifact:
    """Open a sealed folder and check every byte of it.

    Raises:
        RunFolderError: a file is missing or was changed after the folder was sealed.
    """
    try:
        record = json.loads((folder / SEAL).read_text(encoding="utf8"))
        files: dict[str, str] = record["files"]
        history = tuple(record["history"])
    except (OSError, ValueError, KeyError) as error:
        raise RunFolderError(
            f"{folder} is not a finished stage: {SEAL} is missing or damaged; "
            "remove that folder and run the same command again"
        ) from error
    for name, expected in files.items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != expected:
            raise RunFolderError(
                f"{path} was changed after this run wrote it (its sha256 differs); "
                f"remove the folder {folder.name} and run the same command again"
            )
    return Artifact(folder, files, history)


def seal_artifact(partial: Path, done: Path, history: Sequence[Mapping[str, Any]]) -> Artifact:
    """Drop the work folder, record every file's hash, and commit `partial` as `done`."""
    shutil.rmtree(partial / WORK, ignore_errors=True)
    paths = sorted(p for p in partial.rglob("*") if p.is_file() and p.name not in (SEAL, SPENT))
    files = {path.relative_to(partial).as_posix(): file_sha256(path) for path in paths}
    write_json(partial / SEAL, {"files": files, "history": list(history)})
    seal(partial, done)
    return Artifact(done, files, tuple(history))

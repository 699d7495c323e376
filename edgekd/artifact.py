"""An Artifact is a sealed folder: what a step made, with the hash of each file and its history."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.errors import RunFolderError
from edgekd.store import file_sha256, seal, write_json

SEAL = "artifact.json"
WORK = "work"
PREVIEW = "preview.int8.onnx"
"""What quantizing a stage would give, built early: faster FP32 can mean slower INT8."""


@dataclass(frozen=True)
class Artifact:
    """`model.<variant>.onnx`, `preprocess.json` and, while it can still be trained, `model.pt`."""

    folder: Path
    files: Mapping[str, str]  # name -> sha256
    history: tuple[Mapping[str, Any], ...] = ()  # one entry per step: options, key

    @property
    def trainable(self) -> bool:
        """Whether a torch step can start from it."""
        return "model.pt" in self.files

    @property
    def variants(self) -> tuple[str, ...]:
        """The ONNX variants it ships, `fp32` first."""
        names = [
            n.split(".")[1] for n in self.files if n.startswith("model.") and n.endswith(".onnx")
        ]
        return tuple(sorted(names, key=lambda name: (name != "fp32", name)))

    @property
    def knowledge(self) -> dict[str, str]:
        """The files that hold what it knows: a new opset exports again, and teaches the same."""
        learned = {n: sha256 for n, sha256 in self.files.items() if not n.endswith(".onnx")}
        return learned if self.trainable else dict(self.files)

    def onnx(self, variant: str) -> Path:
        """Return the file of `variant`, which must be one of `variants`."""
        return self.folder / f"model.{variant}.onnx"

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
                f"{path} is not the file that this run wrote (its sha256 differs); "
                f"remove the folder {folder.name} and run the same command again"
            )
    return Artifact(folder, files, history)


def seal_artifact(partial: Path, done: Path, history: Sequence[Mapping[str, Any]]) -> Artifact:
    """Drop the work folder, record every file's hash, and commit `partial` as `done`."""
    shutil.rmtree(partial / WORK, ignore_errors=True)
    names = sorted(p for p in partial.iterdir() if p.name != SEAL)
    files = {path.name: file_sha256(path) for path in names}
    write_json(partial / SEAL, {"files": files, "history": list(history)})
    seal(partial, done)
    return Artifact(done, files, tuple(history))

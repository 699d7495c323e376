"""The test split: each file predicts it once, and its predictions stay in the run folder.

What is asked of them later (metrics, classes, samples that changed), and what a resumed run asks
again, is read from there.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.artifact import Artifact
from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.measurement import Setup
from edgekd.data.preprocess import Preprocess, read_preprocess
from edgekd.devices import open_device
from edgekd.errors import RunFolderError
from edgekd.quality import Answers, answer
from edgekd.store import digest, sync

if TYPE_CHECKING:
    from edgekd.data.feed import Data
    from edgekd.task import Task

_PARTS = ("predictions", "targets")


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What the end of a run may ask of the test split."""

    task: Task
    task_identity: str
    data: Data
    """The test split alone."""
    folder: Path
    """Predictions are kept here, by content."""

    def answers(self, artifact: Artifact, path: Path) -> Answers:
        """Return what a file of `artifact` predicts, from disk if it was asked before.

        Raises:
            RunFolderError: what was stored is damaged.
        """
        preprocess = read_preprocess(artifact.folder)
        stored = self.folder / f"{self._key(artifact.sha256(path), preprocess)[:16]}.npz"
        if not stored.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(stored, self._predict(path, preprocess))
        return _read(stored)

    def _key(self, sha256: str, preprocess: Preprocess) -> str:
        # files are run by ONNX Runtime in this process, whatever device is timed
        machine = open_device("local").fingerprint(Setup(threads=1))
        encoding = preprocess.model_dump(mode="json")
        samples = self.data.fingerprint("test")
        return digest(sha256, encoding, self.task_identity, samples, machine)

    def _predict(self, path: Path, preprocess: Preprocess) -> Answers:
        from edgekd.exporters.ort_session import batch_size, predictor

        return answer(
            predictor(path), self.task, self.data, "test", preprocess, size=batch_size(path)
        )


def _write(path: Path, found: Answers) -> None:
    arrays = {f"{part}/{k}": a for part in _PARTS for k, a in getattr(found, part).items()}
    partial = path.with_suffix(".partial")
    save_feeds(partial, {**arrays, "index": found.index})
    sync(partial)
    partial.replace(path)


def _read(path: Path) -> Answers:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            whole = {name: arrays[name] for name in arrays.files}
        parts: dict[str, dict[str, NDArray[Any]]] = {part: {} for part in _PARTS}
        for name in whole.keys() - {"index"}:
            part, _, key = name.partition("/")
            parts[part][key] = whole[name]
        return Answers(**parts, index=whole["index"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(
            f"{path} is not what this run wrote ({error}); remove that file and run the same "
            "command again"
        ) from error

"""Predictions on a split: each file is run once, and the reduced predictions are stored.

What is asked of it later (metrics, classes, samples that changed), and what a resumed run asks
again, is read from there.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.artifact import FP32, Artifact
from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.measurement import Setup
from edgekd.data.preprocess import read_preprocess
from edgekd.devices import open_device
from edgekd.errors import RunFolderError
from edgekd.evaluation.reduced import Reduced, reduce_split
from edgekd.exporters.ort_session import batch_size, predictor
from edgekd.store import digest, sync

if TYPE_CHECKING:
    from edgekd.data.batches import Data
    from edgekd.tasks.task import Task

_PARTS = ("arrays", "reference")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The predictions of files on one split, reduced by the task."""

    task: Task
    task_identity: str
    data: Data
    split: Literal["validation", "test"]
    teacher: Artifact
    """Its FP32 file is what the others are compared with."""
    folder: Path
    """Reduced predictions are kept here, by content."""

    def reduced(self, artifact: Artifact, path: Path) -> Reduced:
        """Return what the task keeps of a file's predictions, from disk if it was run before.

        Raises:
            ModelError: the file cannot be run on the data.
            RunFolderError: what was stored is damaged.
        """
        stored = self.folder / f"{self._key(artifact, path)[:16]}.npz"
        if not stored.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(stored, self._run(artifact, path))
        return _read(stored)

    @property
    def _teacher_file(self) -> Path:
        return self.teacher.onnx(FP32)

    def _key(self, artifact: Artifact, path: Path) -> str:
        # files are run by ONNX Runtime in this process, whatever device is timed
        machine = open_device("local").fingerprint(Setup(threads=1))
        files = [_identity(artifact, path), _identity(self.teacher, self._teacher_file)]
        return digest(files, self.task_identity, self.data.fingerprint(self.split), machine)

    def _run(self, artifact: Artifact, path: Path) -> Reduced:
        base = self._teacher_file
        is_teacher = _identity(artifact, path) == _identity(self.teacher, base)
        return reduce_split(
            predictor(path),
            self.task,
            self.data,
            self.split,
            read_preprocess(artifact.folder),
            size=batch_size(path),
            teacher=None if is_teacher else self.reduced(self.teacher, base),
        )


def _identity(artifact: Artifact, path: Path) -> list[object]:
    """Return what decides what a file predicts: its bytes, and what is done to the samples."""
    return [artifact.sha256(path), read_preprocess(artifact.folder).model_dump(mode="json")]


def _write(path: Path, found: Reduced) -> None:
    arrays = {f"{part}/{k}": a for part in _PARTS for k, a in getattr(found, part).items()}
    partial = path.with_suffix(".partial")
    save_feeds(partial, {**arrays, "index": found.index})
    sync(partial)
    partial.replace(path)


def _read(path: Path) -> Reduced:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            whole = {name: arrays[name] for name in arrays.files}
        parts: dict[str, dict[str, NDArray[Any]]] = {part: {} for part in _PARTS}
        for name in whole.keys() - {"index"}:
            part, _, key = name.partition("/")
            parts[part][key] = whole[name]
        return Reduced(**parts, index=whole["index"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunFolderError(
            f"{path} was changed after this run wrote it ({error}); remove that file and run the "
            "same "
            "command again"
        ) from error

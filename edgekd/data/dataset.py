"""A Dataset: samples and targets as arrays, in memory or in a read-only memmap."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.data.array_facts import ArrayOptions
from edgekd.errors import DataError
from edgekd.store import digest

if TYPE_CHECKING:
    from edgekd.data.pictures import Form

Arrays = Mapping[str, NDArray[Any]]
Kind = Literal["image", "array", "text"]
SPLITS = ("train", "validation", "test")
"""The splits that a source itself may fix."""
_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class Share:
    """One source of a mixture: its samples are those from `start` to `stop` - 1."""

    fingerprint: str
    """Of the source only."""
    start: int
    stop: int
    weight: float | None
    """Samples per sample of the main source; None: each of its samples once per epoch."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """n samples and, where they are known, n targets, by name.

    image: `samples["image"]` is uint8 [n, height, width, 1 or 3]; text: `samples["text"]` contains
    str; classification: `targets["label"]` is int64 [n], counted from 0. Without labels `targets`
    is empty; a task that needs a target checks for it (`Task.check`).

    Raises:
        DataError: lengths differ, there is nothing, or a label lies outside the range.
    """

    kind: Kind
    samples: Arrays
    targets: Arrays
    labels: tuple[str, ...] = ()
    licence: str = "unknown"
    fixed: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Split name ("train", "validation", "test") -> the indices that the source puts there."""
    skipped: tuple[str, ...] = ()
    """Files or rows that were left out because they are broken."""
    known_sha256: Mapping[str, str] = field(default_factory=dict)
    """Sample name -> `array_sha256`, where a cache knows it already."""
    shares: tuple[Share, ...] = ()
    """The sources of a mixture, the main one first; empty if there is one source only."""
    form: Form | None = None
    """What became of each picture, and how; None for other kinds."""
    meaning: ArrayOptions = field(default_factory=ArrayOptions)
    """What its arrays mean; it changes no result."""
    files: tuple[Path, ...] = ()
    """The picture that each sample was decoded from; empty where samples came as arrays."""
    folders: tuple[str, ...] = ()
    """The names of folders that were taken as classes, where nobody stated the classes."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Sample or target name -> the columns of a table that it was read from, in the order of its
    values; empty for other data."""
    identities: bool = False
    """Whether samples of one label are to be found by each other: splits and batches keep at least
    two of a label together."""

    def __post_init__(self) -> None:
        """Check the form."""
        _check_lengths(self)
        _check_samples(self)
        _check_label(self)
        _check_fixed(self)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.samples.values())))

    @cached_property
    def fingerprint(self) -> str:
        """Sha256 over the content: arrays, fixed splits, names of labels and columns."""
        return digest(
            {
                "kind": self.kind,
                "samples": {
                    name: self.known_sha256.get(name) or array_sha256(array)
                    for name, array in self.samples.items()
                },
                "targets": {name: array_sha256(array) for name, array in self.targets.items()},
                "labels": self.labels,
                "fixed": {name: array_sha256(array) for name, array in self.fixed.items()},
                "sources": [share.stop for share in self.shares],
                "form": self.form and asdict(self.form),
                "identities": self.identities,
                "columns": {name: list(names) for name, names in self.columns.items()},
            }
        )

    @property
    def main_samples(self) -> int:
        """The number of samples of the main source; they come first."""
        return self.shares[0].stop if self.shares else len(self)

    @property
    def main_fingerprint(self) -> str:
        """The fingerprint of the main source; further sources and weights do not change it."""
        return self.shares[0].fingerprint if self.shares else self.fingerprint

    @property
    def classes(self) -> int:
        """The number of classes, 0 where there are no labels."""
        if "label" not in self.targets:
            return 0
        return len(self.labels) or int(self.targets["label"].max()) + 1

    @property
    def answers(self) -> int:
        """The number of classes, labels or values for each sample; 0 without targets."""
        if "labels" in self.targets:
            return int(self.targets["labels"].shape[1])
        if "mask" in self.targets:
            return len(self.labels)
        if "value" in self.targets:
            value = self.targets["value"]
            return int(np.prod(value.shape[1:], dtype=int))
        return self.classes

    def label_name(self, label: int) -> str:
        """Return the name of a class, or its number where it has none."""
        return self.labels[label] if label < len(self.labels) else str(label)

    def take(self, indices: NDArray[np.int64]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return copies of the samples and targets at `indices`, in that order."""
        return (
            {name: array[indices] for name, array in self.samples.items()},
            {name: array[indices] for name, array in self.targets.items()},
        )


def array_sha256(array: NDArray[Any]) -> str:
    """Return the sha256 of an array's bytes, then its type and shape, in blocks: memory stays flat.

    Texts count by their characters, however numpy stores them.
    """
    sha = hashlib.sha256()
    if array.dtype.kind in "OU":
        for text in array:
            data = str(text).encode()
            sha.update(f"{len(data)}:".encode() + data)
        return sha.hexdigest()
    rows = max(1, _BLOCK_BYTES * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        sha.update(np.ascontiguousarray(array[start : start + rows]).data)
    sha.update(pixels_suffix(array.dtype, array.shape))
    return sha.hexdigest()


def pixels_suffix(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return what `array_sha256` ends with; for a writer that learns the shape last."""
    return f"{dtype.str}{shape}".encode()


def is_image(array: NDArray[Any]) -> bool:
    """Return whether this is uint8 [n, height, width, 1 or 3]."""
    return array.dtype == np.uint8 and array.ndim == 4 and array.shape[3] in (1, 3)


def _check_lengths(dataset: Dataset) -> None:
    if not dataset.samples:
        raise DataError("a data set needs at least one array of samples")
    lengths = {
        name: len(a) for group in (dataset.samples, dataset.targets) for name, a in group.items()
    }
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(
            f"the arrays have different lengths ({found}); the first axis of each counts the "
            "samples: all must have one row per sample"
        )
    if not len(dataset):
        raise DataError("the data set is empty; give at least a few samples of each class")


def _check_samples(dataset: Dataset) -> None:
    for name, array in dataset.samples.items():
        if dataset.kind != "text" and array.dtype.kind not in "buif":
            raise DataError(
                f"samples {name!r} have type {array.dtype}, numbers were expected; "
                "convert them, or use kind 'text' for texts"
            )
    if dataset.kind == "image":
        image = dataset.samples.get("image")
        if image is None or not is_image(image):
            got = "none" if image is None else f"{image.dtype} {list(image.shape)}"
            raise DataError(
                f"images must be samples['image'], uint8 [n, height, width, 1 or 3]; got {got}. "
                "Move the channels last and keep the pixels as bytes 0..255: "
                "normalisation belongs to the model (mean and std of its input)"
            )
    if dataset.kind == "text" and "text" not in dataset.samples:
        raise DataError(f"texts must be samples['text']; got {sorted(dataset.samples)}")


def _check_label(dataset: Dataset) -> None:
    label = dataset.targets.get("label")
    if label is None:
        return
    if label.dtype != np.int64 or label.ndim != 1:
        raise DataError(
            f"targets['label'] must be int64 [n], got {label.dtype} {list(label.shape)}; use "
            "label.astype(np.int64), and label.argmax(axis=1) for one-hot rows"
        )
    low, high = int(label.min()), int(label.max())
    if low < 0 or (dataset.labels and high >= len(dataset.labels)):
        top = (
            f" to {len(dataset.labels) - 1} ({len(dataset.labels)} names)" if dataset.labels else ""
        )
        raise DataError(
            f"labels run from {low} to {high}, but classes are counted from 0{top}; "
            "renumber the labels, or give a name for every class in `labels`"
        )


def _check_fixed(dataset: Dataset) -> None:
    unknown = sorted(set(dataset.fixed) - set(SPLITS))
    if unknown:
        raise DataError(f"split {unknown[0]!r} is not known; a source may fix {', '.join(SPLITS)}")
    taken = np.zeros(len(dataset), np.int64)
    for name, indices in dataset.fixed.items():
        if len(indices) and (indices.min() < 0 or indices.max() >= len(dataset)):
            raise DataError(f"fixed split {name!r} has indices outside 0 to {len(dataset) - 1}")
        np.add.at(taken, indices, 1)
    if (taken > 1).any():
        raise DataError(
            f"sample {int(taken.argmax())} is in more than one fixed split; give each sample to "
            "one split only"
        )

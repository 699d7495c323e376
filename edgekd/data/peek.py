"""Whether data has labels, seen from names alone: before anything is decoded."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgekd.data.arrays import TARGET_NAMES
from edgekd.data.images import has_class_folders
from edgekd.data.mnist_and_cifar import is_idx
from edgekd.data.source import Source
from edgekd.errors import DataError
from edgekd.store import locate


def peek_labels(source: Source, *, root: Path) -> bool | None:
    """Return whether there are labels of classes; None: the names do not tell.

    Args:
        source: the data.
        root: relative paths start here.
    """
    if source.path is None or source.format is not None:
        return None if source.name is None else True
    path = locate(source.path, root=root)
    try:
        if path.is_dir():
            is_known = is_idx(path) or any(path.glob("data_batch_1*"))
            return is_known or has_class_folders(path)
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                return any(map(_is_target, archive.namelist()))
    except (OSError, DataError, zipfile.BadZipFile):  # it is said where the data is opened
        return None
    return False if path.suffix.lower() == ".npy" else None


def _is_target(member: str) -> bool:
    """Whether an array of an .npz is one of targets: y.npy, y_train.npy, train_y.npy."""
    name = member.lower().removesuffix(".npy")
    parts = {name, name.rpartition("_")[0], name.partition("_")[2]}
    return not parts.isdisjoint(TARGET_NAMES)

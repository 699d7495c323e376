"""The groups that splits keep in shares, and how samples of one identity stay in pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import Dataset
from edgekd.errors import DataError
from edgekd.tasks.segmentation import IGNORED

_LEAST = 3
Indices = NDArray[np.int64]


def find_strata(dataset: Dataset) -> Indices:
    """Return the group of each sample, [n].

    It is the class; where a sample has several labels, or a class for each pixel, the rarest one
    that it has; 0 for all without any of these.

    Raises:
        DataError: there are fewer than two classes.
    """
    targets = dataset.targets
    if "labels" in targets:
        return _rarest(targets["labels"] > 0)
    if "mask" in targets:
        return _rarest(find_present(targets["mask"]))
    if "label" not in targets:
        return np.zeros(len(dataset), np.int64)
    label: Indices = targets["label"]
    if len(np.unique(label)) < 2:
        raise DataError(
            f"all {len(label)} samples are of class {dataset.label_name(int(label[0]))!r}; at "
            "least 2 classes are needed: add samples of another one"
        )
    return label


def find_present(masks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which class is in which mask, bool [n, classes], of masks [n, height, width]."""
    counted = np.zeros((len(masks), IGNORED), bool)
    for row, mask in zip(counted, masks, strict=True):
        row[:] = np.bincount(mask.ravel(), minlength=IGNORED + 1)[:IGNORED] > 0
    used = np.flatnonzero(counted.any(axis=0))
    return counted[:, : int(used[-1]) + 1 if len(used) else 1]


def _rarest(has: NDArray[np.bool_]) -> Indices:
    """Return for each sample the label that the fewest samples have, of those that it has.

    Where most samples have a label that hardly another has, all are one group: nothing could be
    set aside.
    """
    counts = has.sum(axis=0)
    found = np.where(has, counts, len(has) + 1).argmin(axis=1).astype(np.int64)
    found[~has.any(axis=1)] = has.shape[1]
    sizes = np.bincount(found)[found]
    return found if (sizes >= _LEAST).mean() > 0.5 else np.zeros(len(has), np.int64)


def allot_pairs(sizes: Indices, count: int, *, order: Indices) -> Indices:
    """Share `count` samples among identities: each gives none or at least two, and keeps as many.

    In proportion to `sizes` where that makes two of each; for the rest, the identities in `order`
    give two (of three all) as long as there is room.
    """
    shares: Indices = np.floor(count * sizes / max(1, sizes.sum())).astype(np.int64)
    shares[shares < 2] = 0
    lone = (shares > 0) & (sizes - shares == 1)
    shares[lone] = np.where(shares[lone] > 2, shares[lone] - 1, sizes[lone])
    room = max(count, 2) - int(shares.sum())
    for i in order.tolist():
        taken = 3 if sizes[i] == 3 else 2
        if shares[i] == 0 and sizes[i] >= 2 and taken <= room:
            shares[i] = taken
            room -= taken
    for i in order.tolist():
        if room > 0 and shares[i] > 0 and sizes[i] - shares[i] > 2:
            shares[i] += 1
            room -= 1
    return shares


def pair_up(indices: Indices, label: NDArray[Any]) -> Indices:
    """Return `indices` so reordered that samples of one label follow each other in twos.

    A pair stands where its first sample stood. So a batch of an even size contains mates.
    """
    place: dict[int, int] = {}
    pairs: list[list[int]] = []
    for index, name in zip(indices.tolist(), label[indices].tolist(), strict=True):
        if name in place:
            pairs[place.pop(name)].append(index)
        else:
            place[name] = len(pairs)
            pairs.append([index])
    return np.array([index for pair in pairs for index in pair], np.int64)


def describe_lone(dataset: Dataset, split: str, indices: Indices) -> str:
    """Return how many samples of a split have no mate of their label in it; "" if none."""
    label = dataset.targets["label"][indices]
    lone = int((np.bincount(label)[label] < 2).sum()) if len(label) else 0
    if not lone:
        return ""
    return (
        f"{lone} of {len(label)} samples of the {split} split have no other of their label there, "
        "so nothing can be found for them"
    )

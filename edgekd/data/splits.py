"""Make the splits: train, calibration (part of train), validation, test.

Every split is in seeded order, so that any prefix of it is a fair sample of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import Dataset
from edgekd.data.seeded_random import shuffled
from edgekd.errors import DataError
from edgekd.wording import option

DEFAULT_CALIBRATION = 512
_SHOWN = 5
_WITHOUT = {
    "train": "nothing of it is learned",
    "validation": "no decision counts it",
    "test": "the report does not show it",
}
"""Split -> what follows if it lacks a class."""
_PURPOSE = 1  # keeps these orders apart from those of the epochs
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Splits:
    """Indices into one Dataset. Calibration is part of train; the rest share no sample."""

    train: Indices
    calibration: Indices
    validation: Indices
    test: Indices

    def for_steps(self) -> dict[str, Indices]:
        """Return what a step may see: everything but test."""
        return {
            "train": self.train,
            "calibration": self.calibration,
            "validation": self.validation,
        }

    def to_json(self) -> dict[str, list[int]]:
        """Return plain lists."""
        return {name: indices.tolist() for name, indices in asdict(self).items()}


def make_splits(
    dataset: Dataset,
    *,
    validation: float | int,
    test: float | int,
    calibration: int | None = None,
    seed: int,
) -> Splits:
    """Split by label in equal shares, as a function of `seed` and nothing else.

    `validation` and `test` are a share below 1 of the samples that the source leaves open, or a
    count; a split that the source fixes is taken as it is. `calibration` is a count; None is 512
    or the whole train split if that is smaller. Of a mixture only the main source is split; the
    further sources are training samples. A class with too few samples for one in every split is
    for training alone (see `describe_missing`).

    Raises:
        DataError: there are fewer than two classes, a class has no sample, a split is empty, or a
            split was asked to contain more than there is.
    """
    strata = _strata(dataset)
    fixed = {name: shuffled(i, seed, _PURPOSE) for name, i in dataset.fixed.items()}
    everything = np.arange(dataset.main_samples, dtype=np.int64)
    named = np.concatenate([everything[:0], *fixed.values()])
    pool = fixed.get("train", shuffled(np.setdiff1d(everything, named), seed, _PURPOSE))
    open_samples = len(pool)
    pool, rare = _without_rare(pool, strata, splits=3 - len({"validation", "test"} & set(fixed)))
    if len(rare) and not len(pool):
        raise DataError(
            f"each of the {len(np.unique(strata[rare]))} classes has fewer than 3 samples, so none "
            "can be set aside for validation and test; give more samples of each class, or, if the "
            f"labels are numbers to predict, {option('task', 'regression')}"
        )
    found: dict[str, Indices] = {}
    for name, asked in (("test", test), ("validation", validation)):
        if name in fixed:
            found[name] = fixed[name]
            continue
        count = _count(name, asked, open_samples, len(pool))
        found[name], pool = _draw(pool, strata, count)
    pool = pool if not len(rare) else shuffled(np.concatenate([pool, rare]), seed, _PURPOSE)
    for name, indices in {"train": pool, **found}.items():
        if not len(indices):
            raise DataError(f"the {name} split is empty; give it samples")
    wanted = min(DEFAULT_CALIBRATION, len(pool)) if calibration is None else calibration
    if not 1 <= wanted <= len(pool):
        raise DataError(
            f"{option('data.calibration', wanted)}: so many samples were requested, but the "
            "train split has "
            f"{len(pool)}; give 1 to {len(pool)}, or more training data"
        )
    drawn, _ = _draw(pool, strata, wanted)
    return Splits(_with_further(dataset, pool, seed), drawn, found["validation"], found["test"])


def _with_further(dataset: Dataset, train: Indices, seed: int) -> Indices:
    """Add the samples of the further sources of a mixture."""
    if not dataset.shares:
        return train
    further = np.arange(dataset.main_samples, len(dataset), dtype=np.int64)
    return shuffled(np.concatenate([train, further]), seed, _PURPOSE)


def _strata(dataset: Dataset) -> Indices:
    """Return the group of each sample, [n]: its label, or 0 where there are no labels."""
    if "label" not in dataset.targets:
        return np.zeros(len(dataset), np.int64)
    label: Indices = dataset.targets["label"]
    if len(np.unique(label)) < 2:
        raise DataError(
            f"all {len(label)} samples are of class {dataset.label_name(int(label[0]))!r}; "
            "a classifier needs at least 2 classes: add samples of another one"
        )
    empty = np.flatnonzero(np.bincount(label, minlength=dataset.classes) == 0)
    if len(empty):
        raise DataError(
            f"class {dataset.label_name(int(empty[0]))!r} (number {empty[0]}) has no sample; "
            "classes are counted from 0 without gaps: renumber the labels, add samples, or drop "
            "the name"
        )
    return label


def _count(name: str, asked: float | int, open_samples: int, left: int) -> int:
    share = isinstance(asked, float)
    if asked <= 0 or (share and asked >= 1):
        raise DataError(
            f"{option(f'data.{name}', asked)} is neither a share (0.1) nor a count (500) of "
            "samples; validation "
            "and test splits are needed: give a number above 0"
        )
    count = max(1, round(asked * open_samples)) if share else int(asked)
    if count >= left:
        raise DataError(
            f"{option(f'data.{name}', asked)} needs {count} samples, but {left} are left, and "
            "training needs "
            "some too; give a smaller number or more data"
        )
    return count


def _draw(pool: Indices, strata: Indices, count: int) -> tuple[Indices, Indices]:
    """Return (`count` of `pool`, each stratum in its share; the rest), both in the pool's order."""
    _, member, sizes = np.unique(strata[pool], return_inverse=True, return_counts=True)
    shares = _allot(sizes, count)
    order = np.argsort(member, kind="stable")
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.empty(len(pool), np.int64)
    place[order] = np.arange(len(pool)) - np.repeat(first, sizes)
    chosen = place < shares[member]
    return pool[chosen], pool[~chosen]


def _allot(sizes: Indices, count: int) -> Indices:
    """Share `count` in proportion to `sizes`, largest remainders first; one each if it can be."""
    quota = count * sizes / sizes.sum()
    shares: Indices = np.floor(quota).astype(np.int64)
    largest = np.argsort(shares - quota, kind="stable")
    shares[largest[: count - int(shares.sum())]] += 1
    while count >= len(sizes) and (shares == 0).any():
        shares[shares.argmax()] -= 1
        shares[shares.argmin()] += 1
    return shares


def _without_rare(pool: Indices, strata: Indices, *, splits: int) -> tuple[Indices, Indices]:
    """Return `pool` without the samples of classes that have fewer than `splits`, and these."""
    counts = np.bincount(strata[pool], minlength=1)
    rare = counts[strata[pool]] < splits
    return pool[~rare], pool[rare]


def describe_missing(dataset: Dataset, splits: Splits) -> str:
    """Return which classes are missing from a split, for the user; "" if none is."""
    if not dataset.classes:
        return ""
    label, found = dataset.targets["label"], []
    total = np.bincount(label, minlength=dataset.classes)
    for name, outcome in _WITHOUT.items():
        have = np.bincount(label[getattr(splits, name)], minlength=dataset.classes)
        missing = np.flatnonzero((have == 0) & (total > 0)).tolist()
        if missing:
            shown = [f"{dataset.label_name(i)!r} ({total[i]} in all)" for i in missing[:_SHOWN]]
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            found.append(
                f"the {name} split has no sample of class {', '.join(shown)}{more}, so {outcome}"
            )
    return "; ".join(found)

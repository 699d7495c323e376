"""Make the splits: train, calibration (part of train), validation, test.

Every split is in seeded order, so that any prefix of it is a fair sample of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import Dataset
from edgekd.data.seeded_random import shuffled
from edgekd.data.strata import (
    allot_pairs,
    describe_lone,
    find_present,
    find_strata,
    pair_up,
)
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

    def few(self, most: Mapping[str, int]) -> Splits:
        """Return at most so many samples of each split; calibration stays a part of train."""
        calibration = self.calibration[: most["calibration"]]
        rest = self.train[~np.isin(self.train, calibration)]
        train = np.concatenate([calibration, rest])[: max(most["train"], len(calibration))]
        return Splits(
            train, calibration, self.validation[: most["validation"]], self.test[: most["test"]]
        )

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
    for training alone (see `describe_missing`). Of identities, each split has none or at least two
    samples: one alone cannot be found.

    Raises:
        DataError: there are fewer than two classes, a split is empty, or a split was asked to
            contain more than there is.
    """
    strata = find_strata(dataset)
    fixed = {name: shuffled(i, seed, _PURPOSE) for name, i in dataset.fixed.items()}
    everything = np.arange(dataset.main_samples, dtype=np.int64)
    named = np.concatenate([everything[:0], *fixed.values()])
    pool = fixed.get("train", shuffled(np.setdiff1d(everything, named), seed, _PURPOSE))
    open_samples = len(pool)
    open_splits = 3 - len({"validation", "test"} & set(fixed))
    least = min(2, open_splits) if dataset.identities else open_splits
    pool, rare = _without_rare(pool, strata, least=least)
    if len(rare) and not len(pool):
        raise _all_rare(dataset, classes=len(np.unique(strata[rare])), least=least)
    found: dict[str, Indices] = {}
    for name, asked in (("test", test), ("validation", validation)):
        if name in fixed:
            found[name] = fixed[name]
            continue
        count = _count(name, asked, open_samples, len(pool))
        found[name], pool = _draw(pool, strata, count, in_pairs=dataset.identities)
    pool = pool if not len(rare) else shuffled(np.concatenate([pool, rare]), seed, _PURPOSE)
    for name, indices in {"train": pool, **found}.items():
        if not len(indices):
            raise DataError(f"the {name} split is empty; give it samples")
    wanted = min(DEFAULT_CALIBRATION, len(pool)) if calibration is None else calibration
    if not 1 <= wanted <= len(pool):
        raise DataError(
            f"{option('data.calibration', wanted)} samples were requested, but the "
            "train split has "
            f"{len(pool)}; give 1 to {len(pool)}, or more training data"
        )
    drawn, _ = _draw(pool, strata, wanted)
    parts = [_with_further(dataset, pool, seed), drawn, found["validation"], found["test"]]
    if dataset.identities:
        for name, indices in found.items():
            _check_mates(dataset, name, indices)
        # in pairs, so that any prefix has mates
        parts = [pair_up(part, dataset.targets["label"]) for part in parts]
    return Splits(*parts)


def _with_further(dataset: Dataset, train: Indices, seed: int) -> Indices:
    """Add the samples of the further sources of a mixture."""
    if not dataset.shares:
        return train
    further = np.arange(dataset.main_samples, len(dataset), dtype=np.int64)
    return shuffled(np.concatenate([train, further]), seed, _PURPOSE)


def _check_mates(dataset: Dataset, name: str, indices: Indices) -> None:
    """Refuse a split, which the source fixed, in which nothing can be found."""
    label = dataset.targets["label"][indices]
    if len(label) and np.bincount(label).max() < 2:
        raise DataError(
            f"no two samples of the {name} split have one label, so nothing can be found in it; "
            "give it at least two samples of some labels, or leave the splitting to edgekd"
        )


def _all_rare(dataset: Dataset, *, classes: int, least: int) -> DataError:
    if dataset.identities:
        return DataError(
            f"each of the {classes} labels has one sample, so no sample can be found by another "
            "of its label; give at least two samples of a label"
        )
    return DataError(
        f"each of the {classes} classes has fewer than {least} samples, so none can be set aside "
        "for validation and test; give more samples of each class, or, if the labels are numbers "
        f"to predict, {option('task', 'regression')}"
    )


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


def _draw(
    pool: Indices, strata: Indices, count: int, *, in_pairs: bool = False
) -> tuple[Indices, Indices]:
    """Return (`count` of `pool`, each stratum in its share; the rest), both in the pool's order."""
    _, seen, member, sizes = np.unique(
        strata[pool], return_index=True, return_inverse=True, return_counts=True
    )
    shares = allot_pairs(sizes, count, order=np.argsort(seen)) if in_pairs else _allot(sizes, count)
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


def _without_rare(pool: Indices, strata: Indices, *, least: int) -> tuple[Indices, Indices]:
    """Return `pool` without the samples of classes that have fewer than `least`, and these."""
    counts = np.bincount(strata[pool], minlength=1)
    rare = counts[strata[pool]] < least
    return pool[~rare], pool[rare]


def describe_missing(dataset: Dataset, splits: Splits) -> str:
    """Return which classes or labels are missing from a split, for the user; "" if none is."""
    if dataset.identities:
        lone = [describe_lone(dataset, name, getattr(splits, name)) for name in _WITHOUT]
        return "; ".join(text for text in lone[1:] if text)
    count = _counter(dataset)
    if count is None:
        return ""
    total, found = count(np.arange(len(dataset))), []
    absent = np.flatnonzero(total == 0).tolist()
    if absent and (dataset.labels or "mask" not in dataset.targets):
        found.append(f"the data has no sample of class {_few(dataset, absent)}")
    for name, outcome in _WITHOUT.items():
        missing = np.flatnonzero((count(getattr(splits, name)) == 0) & (total > 0)).tolist()
        if missing:
            shown = _few(dataset, missing, total)
            found.append(f"the {name} split has no sample of class {shown}, so {outcome}")
    return "; ".join(found)


def _few(dataset: Dataset, classes: list[int], total: Indices | None = None) -> str:
    """Return the first of some classes by name, with how many samples each has in all."""
    shown = [
        repr(dataset.label_name(i)) + ("" if total is None else f" ({total[i]} in all)")
        for i in classes[:_SHOWN]
    ]
    more = f" and {len(classes) - _SHOWN} more" if len(classes) > _SHOWN else ""
    return ", ".join(shown) + more


def _counter(dataset: Dataset) -> Callable[[Indices], Indices] | None:
    """Return what counts the samples of each class among some; None where there are no classes."""
    targets = dataset.targets
    if "label" in targets:
        label = targets["label"]
        return lambda rows: np.bincount(label[rows], minlength=dataset.classes)
    if "labels" in targets:
        has = targets["labels"] > 0
    elif "mask" in targets:
        has = find_present(targets["mask"])
    else:
        return None
    return lambda rows: has[rows].sum(axis=0)

"""The order of the samples in an epoch: a function of seed, epoch and position only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import Share
from edgekd.data.seeded_random import mix, shuffled

Indices = NDArray[np.int64]
_ORDER, _PASS, _PLACE = 3, 4, 5  # keep these draws apart from each other and from those of views


def count_per_epoch(indices: Indices, shares: Sequence[Share]) -> int:
    """Return how many samples an epoch over `indices` has."""
    return sum(_counts(_by_source(indices, shares), shares)) if shares else len(indices)


def order_epoch(indices: Indices, shares: Sequence[Share], *, seed: int, number: int) -> Indices:
    """Return the samples of epoch `number` in order.

    Without weights every sample comes once. With weights the main source comes once, and beside
    each of its samples `weight` samples of a further source: these are read from an endless row of
    passes over that source, each with a new order, so that after many epochs all were met equally
    often. An epoch is computed without those before it, so a training resumes exactly.

    Args:
        indices: the samples of the split.
        shares: of the data set; empty if it is not a mixture.
        seed: of the recipe.
        number: of the epoch, from 0.
    """
    if all(share.weight is None for share in shares):
        return shuffled(indices, _ORDER, seed, number)
    sources = _by_source(indices, shares)
    drawn = [
        _read_passes(own, source, count, seed=seed, number=number)
        for source, (own, count) in enumerate(zip(sources, _counts(sources, shares), strict=True))
    ]
    together = np.concatenate(drawn)
    place = mix(_PLACE, seed, number, np.arange(len(together), dtype=np.int64))
    return together[np.argsort(place, kind="stable")]


def _by_source(indices: Indices, shares: Sequence[Share]) -> list[Indices]:
    return [indices[(indices >= s.start) & (indices < s.stop)] for s in shares]


def _counts(sources: Sequence[Indices], shares: Sequence[Share]) -> list[int]:
    """Return how many samples of each source an epoch has; the first source is the main one."""
    main = len(sources[0])
    return [
        len(own) if share.weight is None else max(1, round(share.weight * main))
        for own, share in zip(sources, shares, strict=True)
    ]


def _read_passes(own: Indices, source: int, count: int, *, seed: int, number: int) -> Indices:
    """Return samples `number * count` to `(number + 1) * count - 1` of the endless row."""
    first = number * count
    skipped = first // len(own)
    last = (first + count - 1) // len(own)
    passes = [shuffled(own, _PASS, seed, source, k) for k in range(skipped, last + 1)]
    start = first - skipped * len(own)
    return np.concatenate(passes)[start : start + count]

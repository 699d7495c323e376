"""Rows of arrays: broken ones left out, and pairs of samples taken apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
Fixed = Mapping[str, NDArray[np.int64]]


def find_broken(*groups: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Return the rows in which a number is NaN or infinite."""
    rows = len(next(iter(groups[0].values())))
    broken = np.zeros(rows, bool)
    for group in groups:
        for array in group.values():
            if array.dtype.kind == "f":
                broken |= ~np.isfinite(array.reshape(rows, -1)).all(axis=1)
    return np.flatnonzero(broken)


def without_rows(arrays: Arrays, rows: NDArray[np.int64]) -> Arrays:
    """Return arrays without some rows."""
    return {name: np.delete(array, rows, axis=0) for name, array in arrays.items()}


def renumber(fixed: Fixed, rows: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return the fixed splits of data that lacks `rows`."""
    kept = {name: np.setdiff1d(indices, rows) for name, indices in fixed.items()}
    return {name: indices - np.searchsorted(rows, indices) for name, indices in kept.items()}


def are_pairs(inputs: Mapping[str, NDArray[Any]], target: NDArray[Any] | None) -> bool:
    """Tell whether these are two samples a row, of one kind, with no label or 0 and 1 for it."""
    if len(inputs) != 2:
        return False
    first, second = inputs.values()
    alike = first.shape == second.shape and first.dtype.kind == second.dtype.kind
    if target is None or not alike:
        return alike
    return target.ndim == 1 and target.dtype.kind in "buif" and bool(np.isin(target, (0, 1)).all())


def take_apart(
    inputs: Mapping[str, NDArray[Any]], target: NDArray[Any] | None, fixed: Fixed
) -> tuple[Arrays, NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Return pairs [n] as samples [2 n], the first ones first, with who belongs to whom.

    Both of a pair whose target is 1 (of all without a target) get one number, and so do equal
    samples.
    """
    first, second = inputs.values()
    together = np.concatenate([first, second])
    pairs, owner = len(first), list(range(2 * len(first)))

    def root(sample: int) -> int:
        while owner[sample] != sample:
            owner[sample] = owner[owner[sample]]
            sample = owner[sample]
        return sample

    seen: dict[bytes, int] = {}
    for sample in range(2 * pairs):
        row = together[sample]
        key = (
            str(row).encode()
            if together.dtype.kind in "OU"
            else np.ascontiguousarray(row).tobytes()
        )
        owner[root(sample)] = root(seen.setdefault(key, sample))
    for pair in range(pairs):
        if target is None or target[pair]:
            owner[root(pair)] = root(pair + pairs)
    label = np.array([root(sample) for sample in range(2 * pairs)], np.int64)
    both = {name: np.concatenate([rows, rows + pairs]) for name, rows in fixed.items()}
    return {"x": together}, label, both

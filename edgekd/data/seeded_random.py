"""Random numbers as a function of their purpose: no generator state, no order of calls.

A number for (seed, epoch, index, lane) is the same in any batch, process and numpy version. The
mixer is splitmix64 (Steele, Lea, Flood, OOPSLA 2014, figure 17), one round per word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(*words: int | NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return 64 random bits for each combination of `words`, which broadcast; at least one axis."""
    state = np.zeros(1, np.uint64)
    for word in words:
        bits = (
            np.array([word & _MASK], np.uint64) if isinstance(word, int) else word.astype(np.uint64)
        )
        state = (state ^ bits) + _GOLDEN
        state = (state ^ (state >> np.uint64(30))) * _FIRST
        state = (state ^ (state >> np.uint64(27))) * _SECOND
        state = state ^ (state >> np.uint64(31))
    return state


def below(bits: NDArray[np.uint64], limit: int) -> NDArray[np.int64]:
    """Return whole numbers in [0, limit) from the upper 32 of `bits`; `limit` is at most 2**31."""
    half = np.uint64(32)
    return (((bits >> half) * np.uint64(limit)) >> half).astype(np.int64)


def shuffled(values: NDArray[np.int64], *words: int) -> NDArray[np.int64]:
    """Return `values` (distinct) in the order that `words` decide, whatever order they came in."""
    ordered = np.sort(values)
    return ordered[np.argsort(mix(*words, ordered), kind="stable")]

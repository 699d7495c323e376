"""Histograms of float32 values whose bins are the top 16 bits of the number.

A bin is a sign, an exponent and 7 bits of mantissa: values of one bin differ by less than 1 %.
Bins depend on no data, so that counts of any samples add up to the same in any order, and no
value is too large, too small or too far from the others. That is one shift and one count a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MANTISSA = 128
"""Bins of one exponent."""
_BLOCKS = 512
"""Signs times exponents. The last exponent of each sign contains infinities and NaN."""
_SIGN = _BLOCKS // 2


@dataclass(frozen=True)
class Bins:
    """The finite values of a tensor by magnitude, ascending; zeros are counted apart."""

    low: NDArray[np.float64]
    """[bins], of the magnitude, greater than 0."""
    high: NDArray[np.float64]
    """[bins], at least `low`."""
    above: NDArray[np.float64]
    """[bins]: how many positive values."""
    below: NDArray[np.float64]
    """[bins]: how many negative values."""
    zeros: float
    """How many zeros, and values too small to differ from zero on any grid."""

    @property
    def count(self) -> float:
        """Return the number of values."""
        return float(self.above.sum() + self.below.sum() + self.zeros)

    def energy(self) -> NDArray[np.float64]:
        """Return the mean square of the values of each bin, evenly spread over it, [bins]."""
        found: NDArray[np.float64] = (self.low**2 + self.low * self.high + self.high**2) / 3
        return found


@dataclass
class Histogram:
    """Counts of the values of one tensor. Only exponents that occur take memory."""

    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, _MANTISSA), np.int64))
    _rows: NDArray[np.int64] = field(default_factory=lambda: np.full(_BLOCKS, -1))
    """Of each block its row in the counts, or -1."""

    def add(self, array: NDArray[np.float32]) -> None:
        """Count the values of an array of any shape."""
        values = np.ascontiguousarray(array, "<f4").reshape(-1)
        patterns = values.view("<u2")[1::2]  # the upper halves
        counts = np.bincount(patterns, minlength=_BLOCKS * _MANTISSA)
        self._add_blocks(counts.reshape(_BLOCKS, _MANTISSA))

    def merged(self, other: Histogram) -> Histogram:
        """Return the counts of both."""
        both = Histogram(self._counts.copy(), self._rows.copy())
        both._add_blocks(other._blocks())
        return both

    def bins(self, most: float) -> Bins:
        """Return the bins that contain values.

        Args:
            most: the greatest finite magnitude, where the last bin ends.
        """
        blocks = self._blocks()
        blocks[[_SIGN - 1, _BLOCKS - 1]] = 0
        above, below = blocks[:_SIGN].reshape(-1), blocks[_SIGN:].reshape(-1)
        zeros = int(above[0] + below[0])
        used = np.flatnonzero(above + below)
        used = used[used > 0]
        patterns = used.astype(np.uint32)
        low = (patterns << 16).view(np.float32).astype(np.float64)
        high = ((patterns << 16) + np.uint32(0xFFFF)).view(np.float32).astype(np.float64)
        return Bins(
            low,
            np.maximum(low, np.minimum(high, most)),
            above[used].astype(np.float64),
            below[used].astype(np.float64),
            float(zeros),
        )

    def _add_blocks(self, blocks: NDArray[Any]) -> None:
        used = np.flatnonzero(blocks.any(axis=1))
        new = used[self._rows[used] < 0]
        if new.size:
            self._rows[new] = np.arange(len(self._counts), len(self._counts) + len(new))
            more = np.zeros((len(new), _MANTISSA), np.int64)
            self._counts = np.concatenate([self._counts, more])
        self._counts[self._rows[used]] += blocks[used]

    def _blocks(self) -> NDArray[np.int64]:
        blocks = np.zeros((_BLOCKS, _MANTISSA), np.int64)
        used = np.flatnonzero(self._rows >= 0)
        blocks[used] = self._counts[self._rows[used]]
        return blocks

"""Estimate how far values of other samples reach beyond the range of the calibration samples.

One sample in a hundred exceeds the greatest value of a hundred others. Where a tensor has few
values, as behind a global pool, the error of clipping these exceeds that of rounding all others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Range = tuple[np.float32, np.float32]

_FEWEST = 8
"""From fewer samples no tail is estimated: three values above a threshold are the least for a
mean, and three of fewer than eight are no tail."""
_TAIL = 8
"""One sample in so many is in the tail: 32 of the usual 256, enough for the mean of an exponential,
and few enough to lie beyond the bulk, which is not exponential."""
_KEPT = 64
"""The most samples in a tail: memory does not grow with the samples."""
_MOST = 0.5
"""Of the width of a range: how far one end may be moved. That costs at most log2(1.5) = 0.6 of the
8 bits, or 1 for both ends, even where no tail is exponential and the estimate far too large."""
_NEAR = 0.9
"""Of a sample's greatest value: values above it would leave a range together. It only enters the
logarithm of `_End.move`, so that a rough count is enough."""


@dataclass
class _End:
    """One end of the values of a tensor: of the most extreme samples how far they reach."""

    greatest: NDArray[np.float64] = field(default_factory=lambda: np.full(_KEPT + 1, -np.inf))
    near: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_KEPT + 1, np.int64))
    """Values of each of these samples that are nearly as great."""

    def add(self, greatest: float, array: NDArray[Any]) -> None:
        place = int(np.lexsort((self.near, self.greatest))[0])
        if greatest > 0 and greatest >= self.greatest[place]:
            near = int((array >= greatest * _NEAR).sum())
            if (greatest, near) > (self.greatest[place], self.near[place]):
                self.greatest[place], self.near[place] = greatest, near

    def merged(self, other: _End) -> _End:
        """Return the most extreme samples of both."""
        tops = np.concatenate([self.greatest, other.greatest])
        near = np.concatenate([self.near, other.near])
        order = np.lexsort((near, tops))[::-1][: _KEPT + 1]
        return _End(tops[order], near[order])

    def move(self, samples: int, values: float, width: float) -> float:
        """Return where a range should end, at the greatest value or beyond it.

        Beyond u, which one sample in `_TAIL` exceeds, tails are taken as exponential with the mean
        excess b. A range that ends at t then clips share * m * 2 b^2 exp(-(t - u) / b) of energy
        from a sample, m values at once, and rounds values * width^2 / (12 * 255^2). The sum is
        least where t = u + b log(share * m * b * 12 * 255^2 / (values * width)).

        Args:
            samples: that were added, at least `_FEWEST`.
            values: of a sample.
            width: of the range.
        """
        order = np.lexsort((self.near, self.greatest))[::-1]
        tops, near = self.greatest[order], self.near[order]
        count = min(max(3, samples // _TAIL), _KEPT)
        top, begin = float(tops[0]), max(0.0, float(tops[count]))
        bounded = tops[1] == top  # as behind a Clip, or in pixels: nothing exceeds it
        if top <= 0 or bounded or not width:
            return max(0.0, top)
        excess = float((np.maximum(tops[:count], 0) - begin).mean())
        share = count / samples
        gain = share * float(near[:count].mean()) * excess * 12 * 255**2 / (values * width)
        if excess <= 0 or gain <= 1:
            return top
        return min(max(top, begin + excess * float(np.log(gain))), top + _MOST * width)


@dataclass
class Extremes:
    """The ends of the values of one tensor over samples, and the estimate of other samples'."""

    samples: int = 0
    values: int = 0
    low: np.float32 = field(default=np.float32(np.inf))
    high: np.float32 = field(default=np.float32(-np.inf))
    below: _End = field(default_factory=_End)
    above: _End = field(default_factory=_End)

    def add(self, array: NDArray[Any]) -> None:
        """Add a sample, not empty. NaN stays in the range: numpy's minimum passes it on."""
        low, high = np.float32(array.min()), np.float32(array.max())
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.above.add(float(high), array)
        self.below.add(float(-low), -array if low < 0 else array)
        self.samples += 1
        self.values += array.size

    def merged(self, other: Extremes) -> Extremes:
        """Return those of both, as if the samples had been added to one."""
        return Extremes(
            self.samples + other.samples,
            self.values + other.values,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.below.merged(other.below),
            self.above.merged(other.above),
        )

    def widened(self) -> Range:
        """Return the range with the least expected error in samples of the same kind.

        It begins at the least and ends at the greatest value that was added, or beyond them.
        """
        low, high = self.low, self.high
        if self.samples < _FEWEST or not (np.isfinite(low) and np.isfinite(high)):
            return low, high
        width = max(0.0, float(high)) - min(0.0, float(low))
        values = self.values / self.samples
        if low < 0:
            low = np.float32(-self.below.move(self.samples, values, width))
        if high > 0:
            high = np.float32(self.above.move(self.samples, values, width))
        return low, high

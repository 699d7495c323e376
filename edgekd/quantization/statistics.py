"""The statistics of one activation over the calibration samples, from which ranges are made.

Samples are divided into two halves by their content, so that ranges of one half can be judged on
the other. Everything adds up to the same whatever the order of the samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgekd.quantization.headroom import Extremes, Range
from edgekd.quantization.histogram import Bins, Histogram
from edgekd.quantization.plan import Activations
from edgekd.quantization.ranges import (
    CLIPPING,
    STAND_IN,
    Method,
    RangeOption,
    clip,
    find_noise,
    grid_of,
)


@dataclass
class Half:
    """The values of a tensor in some of the samples."""

    extremes: Extremes = field(default_factory=Extremes)
    histogram: Histogram = field(default_factory=Histogram)

    def add(self, values: NDArray[np.float32]) -> None:
        """Add the values of a sample, not empty."""
        self.extremes.add(values)
        self.histogram.add(values)

    def merged(self, other: Half) -> Half:
        """Return the values of both."""
        return Half(self.extremes.merged(other.extremes), self.histogram.merged(other.histogram))

    def bins(self) -> Bins:
        """Return the values; all are finite."""
        return self.histogram.bins(max(-float(self.extremes.low), float(self.extremes.high)))

    @property
    def is_real(self) -> bool:
        """Whether all values are finite, and none stands for infinity."""
        most = np.maximum(-self.extremes.low, self.extremes.high)
        return bool(np.isfinite(most) and most <= STAND_IN)

    def find_range(self, method: Method, activations: Activations) -> Range:
        """Return the range by a method.

        Values that are not finite, or stand for that, are kept in the range, so that the tensor
        stays float: to clip them would change what they mean.
        """
        low, high = self.extremes.low, self.extremes.high
        if method == "minmax" or not self.is_real or not low < high:
            return self.extremes.widened()
        bins = self.bins()
        return clip(method, bins, low, high, activations) if len(bins.low) else (low, high)


@dataclass
class Statistics:
    """The values of a tensor in both halves of the samples."""

    halves: tuple[Half, Half] = field(default_factory=lambda: (Half(), Half()))

    def find_range(self, option: RangeOption, activations: Activations) -> tuple[Range, Method]:
        """Return the range over all samples for a grid, and the method that it is by."""
        method = self.find_best(activations) if option == "auto" else option
        return self.halves[0].merged(self.halves[1]).find_range(method, activations), method

    def find_best(self, activations: Activations) -> Method:
        """Return the method with the best signal-to-noise ratio on samples that it has not seen.

        Each half is rounded by the range of the other one. "minmax" where nothing is better.
        """
        noise = self.find_noises(activations)
        return min(noise, key=lambda method: noise[method])

    def find_noises(self, activations: Activations) -> Mapping[Method, float]:
        """Return the squared error of each method on the half that it has not seen, "minmax" first.

        Only "minmax" where there are no two halves, or a value is not a real one.
        """
        one, two = self.halves
        if not (one.extremes.samples and two.extremes.samples and one.is_real and two.is_real):
            return {"minmax": 0.0}
        methods: tuple[Method, ...] = ("minmax", *CLIPPING)
        noise: dict[Method, float] = dict.fromkeys(methods, 0.0)
        for seen, unseen in ((one, two), (two, one)):
            bins = unseen.bins()
            for method in methods:
                grid = grid_of(seen.find_range(method, activations), activations)
                noise[method] += find_noise(bins, grid)
        return noise

"""Ranges of activations by methods that clip, each a pure function of a histogram.

A range has an error: of rounding, for what lies within it, and of clipping, for what does not.
`minmax` clips nothing, `percentile` a fixed share of the values, `entropy` what changes the
distribution least, `mse` what makes the squared error least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.quantization.headroom import Range
from edgekd.quantization.histogram import Bins
from edgekd.quantization.plan import Activations, Grid
from edgekd.quantization.scales import make_grid

Clipping = Literal["percentile", "entropy", "mse"]
Method = Literal["minmax", "percentile", "entropy", "mse"]
RangeOption = Literal["auto", "minmax", "percentile", "entropy", "mse"]
Floats = NDArray[np.float64]

STAND_IN = 1e30
"""No activation is that large: it is a stand-in for minus infinity."""
_SHARE = 0.9999
"""Of the values that `percentile` keeps."""
_FINE = 2048
"""Steps of magnitude in which `entropy` compares distributions, as is usual."""
_CUTS = 128
"""Ends that `entropy` tries."""
_ENDS = 0.5 ** (np.arange(161) / 16)
"""Of the extreme: ends that `mse` tries, from 1 to 1/1024. The error is flat near its least."""


def percentile_range(
    bins: Bins, low: float, high: float, activations: Activations, share: float = _SHARE
) -> tuple[float, float]:
    """Return the range that contains `share` of the values, and zero.

    A symmetric grid cuts magnitudes. Otherwise each sign loses half of the rest, or one all of it.
    """
    lost = (1 - share) * bins.count
    if activations == "int8":
        end = _upper_end(bins, bins.above + bins.below, lost)
        return max(low, -end), min(high, end)
    lost /= 2 if low < 0 < high else 1
    below, above = _upper_end(bins, bins.below, lost), _upper_end(bins, bins.above, lost)
    return max(low, -below), min(high, above)


def _upper_end(bins: Bins, counts: Floats, lost: float) -> float:
    """Return the magnitude that `lost` of the counted values exceed; 0 if there are no more."""
    beyond = counts[::-1].cumsum()
    if not beyond.size or beyond[-1] <= lost:
        return 0.0
    place = len(counts) - 1 - int(np.searchsorted(beyond, lost, side="right"))
    within = (beyond[len(counts) - 1 - place] - lost) / counts[place]
    return float(bins.low[place] + within * (bins.high[place] - bins.low[place]))


def entropy_range(
    bins: Bins, low: float, high: float, activations: Activations
) -> tuple[float, float]:
    """Return the range whose clipped values differ least from their rounded form, by divergence.

    The Kullback-Leibler divergence of Szymon Migacz, "8-bit inference with TensorRT" (GTC 2017):
    magnitudes in 2,048 steps. Those beyond an end count as the last step before it. Zeros are left
    out, since every grid contains them.
    """
    most = max(-low, high)
    edges = np.linspace(0, most, _FINE + 1)
    fine = _resample(bins, edges)
    cuts = np.flatnonzero(fine[127:]) + 128
    cuts = cuts[np.linspace(0, len(cuts) - 1, min(_CUTS, len(cuts))).astype(int)]
    best, end = np.inf, most
    for cut in cuts[::-1]:
        top = float(edges[cut])
        width = 2 * top if activations == "int8" else min(top, -low) + min(top, high)
        step = width / (254 if activations == "int8" else 255) / (most / _FINE)
        found = find_divergence(fine, int(cut), step)
        if found < best:
            best, end = found, top
    return max(low, -end), min(high, end)


def find_divergence(counts: Floats, kept: int, step: float) -> float:
    """Return the divergence of the first `kept` counts from their rounded form.

    Args:
        counts: of values, by magnitude.
        kept: all further ones are added to the last of these.
        step: of the grid, in positions of `counts`.
    """
    within = counts[:kept]
    clipped = within.copy()
    clipped[-1] += counts[kept:].sum()
    level = np.rint((np.arange(kept) + 0.5) / step).astype(np.int64)
    used = within > 0
    total, number = np.bincount(level, within), np.bincount(level, used)
    spread = np.where(used, (total / np.maximum(number, 1))[level], 0.0)
    there = clipped > 0
    if not within.sum() or not spread[there].all():
        return float("inf")
    p, q = clipped[there] / clipped.sum(), spread[there] / within.sum()
    return float((p * np.log(p / q)).sum())


def _resample(bins: Bins, edges: Floats) -> Floats:
    """Return the counts between other edges of magnitude; values are spread evenly over a bin."""
    counts = bins.above + bins.below
    total = np.concatenate([[0.0], counts.cumsum()])
    corners = np.stack([bins.low, bins.high], axis=1).reshape(-1)
    sums = np.stack([total[:-1], total[1:]], axis=1).reshape(-1)
    # From the right, so that a bin without width lies before the edge that it touches.
    found: Floats = np.diff(np.interp(edges, corners, sums, left=0.0, right=total[-1]))
    return np.maximum(found, 0)


def mse_range(bins: Bins, low: float, high: float, activations: Activations) -> tuple[float, float]:
    """Return the range with the least squared error of rounding and clipping together.

    Each end takes 161 positions from the extreme to a 1,024th of it. Within the range the error of
    values is a twelfth of the squared step, or their own square where they round to zero.
    """
    if activations == "int8":
        most = max(-low, high)
        ends = most * _ENDS
        both = bins.above + bins.below
        clipped, inside = _clipped(bins, both, ends), _counted(bins, both, ends)
        end = float(ends[np.argmin(clipped + _rounded(bins, inside, ends / 127))])
        return max(low, -end), min(high, end)
    above = max(high, 0.0) * _ENDS if high > 0 else np.zeros(1)
    below = max(-low, 0.0) * _ENDS if low < 0 else np.zeros(1)
    clipped = _clipped(bins, bins.above, above)[:, None] + _clipped(bins, bins.below, below)
    inside = _counted(bins, bins.above, above)[:, None] + _counted(bins, bins.below, below)
    error = clipped + _rounded(bins, inside, (above[:, None] + below) / 255)
    i, j = np.unravel_index(int(np.argmin(error)), error.shape)
    return -float(below[j]), float(above[i])


def _clipped(bins: Bins, counts: Floats, ends: Floats) -> Floats:
    """Return the squared error of values beyond each end, [ends]; a bin is clipped as a whole."""
    first = np.searchsorted(bins.high, ends, side="right")
    middle = (bins.low + bins.high) / 2
    number, total, energy = (
        np.concatenate([values[::-1].cumsum()[::-1], [0.0]])
        for values in (counts, counts * middle, counts * bins.energy())
    )
    found: Floats = energy[first] - 2 * ends * total[first] + ends**2 * number[first]
    return np.maximum(found, 0)


def _counted(bins: Bins, counts: Floats, ends: Floats) -> Floats:
    total = np.concatenate([[0.0], counts.cumsum()])
    found: Floats = total[np.searchsorted(bins.high, ends, side="right")]
    return found


def _rounded(bins: Bins, inside: Floats, step: Floats) -> Floats:
    """Return the squared error of rounding to a step; `inside` values lie within the range."""
    both = bins.above + bins.below
    number, energy = (
        np.concatenate([[0.0], values.cumsum()]) for values in (both, both * bins.energy())
    )
    small = np.searchsorted(bins.high, step / 2, side="right")
    found: Floats = np.maximum(inside - number[small], 0) * step**2 / 12 + energy[small]
    return found


def find_noise(bins: Bins, grid: Grid) -> float:
    """Return the squared error of all values on a grid, rounded and clipped, summed.

    Exact for values that are spread evenly over their bins.
    """
    scale = float(grid.scale)
    least = -128 if grid.dtype == "int8" else -grid.zero
    most = 127 if grid.dtype == "int8" else 255 - grid.zero
    above = _squares(bins.low / scale, bins.high / scale, most)
    below = _squares(bins.low / scale, bins.high / scale, -least)
    return float((bins.above * above + bins.below * below).sum()) * scale**2


def _squares(low: Floats, high: Floats, most: int) -> Floats:
    """Return the mean of (x - round(x))^2 over low..high, where no more than `most` is rounded to.

    Over one whole step the square sums up to 1/12; in the rest of a step to the cube of the error.
    """

    def integral(x: Floats) -> Floats:
        whole = np.minimum(np.rint(x), most)
        found: Floats = whole / 12 + (x - whole) ** 3 / 3
        return found

    width = high - low
    point = (low - np.minimum(np.rint(low), most)) ** 2
    narrow = width <= 1e-9 * high
    mean: Floats = (integral(high) - integral(low)) / np.where(narrow, 1.0, width)
    return np.where(narrow, point, mean)


CLIPPING: Mapping[Clipping, Callable[[Bins, float, float, Activations], tuple[float, float]]] = {
    "percentile": percentile_range,
    "entropy": entropy_range,
    "mse": mse_range,
}


def clip(
    method: Clipping, bins: Bins, low: np.float32, high: np.float32, activations: Activations
) -> Range:
    """Return the range by a method that clips, in 32 bits; it contains zero.

    Args:
        method: a key of `CLIPPING`.
        bins: of the values, at least one of them not zero.
        low: the least value, finite.
        high: the greatest, finite.
        activations: the grid that the range is for.
    """
    ends = min(0.0, float(low)), max(0.0, float(high))
    below, above = CLIPPING[method](bins, *ends, activations)
    return np.float32(below), np.float32(above)


def grid_of(found: Range, activations: Activations) -> Grid:
    """Return the grid of a range."""
    return make_grid(float(found[0]), float(found[1]), activations)

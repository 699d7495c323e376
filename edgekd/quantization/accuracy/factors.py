"""Factors that share the range of a channel between an activation and the weights that read it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

ALPHA = 0.8
"""The share that the weights take over. With one scale for all of a weight the papers take 0.5;
with a scale for each of its outputs it has the steps to spare."""
_MOST = 1e3
"""A factor, or one by it: further apart than that, a channel is as good as empty."""


def find_factors(
    peaks: NDArray[np.float32],
    weights: NDArray[np.float32],
    *,
    alpha: float = ALPHA,
    least: NDArray[np.float64] | float = 0.0,
) -> NDArray[np.float64]:
    """Return s = p^alpha / w^(1 - alpha) of each channel, by which x is divided and w multiplied.

    The largest value of the whole activation stays what it is. s is 1 for a channel without values
    or weights.

    Args:
        peaks: p, the largest absolute value of each channel, [channels].
        weights: w, the largest absolute weight that reads it, [channels].
        alpha: 0 to 1; with 0.5 activation and weight get the same range.
        least: s of each channel; NaN: it has to be 1.
    """
    p, w = peaks.astype(np.float64), weights.astype(np.float64)
    least = np.broadcast_to(least, p.shape)
    usable = (p > 0) & (w > 0) & np.isfinite(p) & np.isfinite(w) & ~np.isnan(least)
    factor = np.ones(p.shape)
    if usable.any():
        own = p[usable] ** alpha / w[usable] ** (1 - alpha)
        own *= (p[usable] / own).max() / p[np.isfinite(p)].max()
        factor[usable] = np.maximum(np.clip(own, 1 / _MOST, _MOST), least[usable])
    return factor


def scale(tensor: TensorProto, factor: NDArray[np.float64]) -> None:
    """Multiply an initializer by a factor of a shape that fits."""
    value = numpy_helper.to_array(tensor).astype(np.float64) * factor
    tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))

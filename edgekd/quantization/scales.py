"""Scales and zero points: from ranges of activations, from weights, from biases."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekd.quantization.plan import Activations, Grid, Layer
from edgekd.quantization.saturation import find_safe_scale, keep_safe

_LEAST = 1e-18
"""A width below which a tensor counts as 0 throughout: products of scales must stay normal."""
_LARGEST_BIAS = 2**30
"""Of a bias in int32: the other half is left for the sum of products."""
_MOST_COARSER = 8.0
"""Times that a bias may coarsen a weight: three of its seven bits."""


def make_grid(low: float, high: float, activations: Activations) -> Grid:
    """Return the grid of a tensor whose values lie within low..high; 0 is always on it.

    uint8 covers the range exactly. int8 is symmetric: -127..127 with zero point 0.
    """
    low, high = min(0.0, float(low)), max(0.0, float(high))
    if activations == "int8":
        bound = max(-low, high)
        return Grid(dtype="int8", scale=np.float32(bound / 127 if bound > _LEAST else 1), zero=0)
    if high - low <= _LEAST:
        return Grid(dtype="uint8", scale=np.float32(1), zero=0)
    scale = np.float32((high - low) / 255)
    return Grid(dtype="uint8", scale=scale, zero=int(np.clip(np.rint(-low / scale), 0, 255)))


def find_weight_scale(
    weight: NDArray[np.float32],
    axis: int,
    data: np.float32,
    bias: NDArray[np.float32] | None,
    *,
    step: float,
    pairwise: bool,
) -> NDArray[np.float32] | str:
    """Return the scale of each output channel, or why none serves weight and bias.

    A bias is an integer of 32 bits on the scale of data times weight. Where it would not fit, its
    channel gets a coarser scale. A channel that is nearly its bias alone loses nothing by it; one
    that is the difference of two large numbers would.

    Args:
        weight: any shape.
        axis: of the output channels.
        data: the scale of what the layer reads.
        bias: [channels] or None.
        step: of an 8-bit grid over what the layer gives: a smaller error is not seen.
        pairwise: whether products are added in pairs, which must fit into 16 bits.
    """
    rest = tuple(i for i in range(weight.ndim) if i != axis)
    scale = np.abs(weight).max(axis=rest).astype(np.float64) / 127
    if pairwise:
        scale = find_safe_scale(weight, axis, scale)
    if bias is not None:
        needed = np.abs(bias).astype(np.float64) / data / _LARGEST_BIAS
        summed = weight.size / weight.shape[axis]
        # Errors of up to half a scale meet data of up to 255 steps, and accumulate like noise.
        seen = np.sqrt(summed) * 128 * float(data) * needed > step
        if (seen & (needed > _MOST_COARSER * scale) & (scale > 0)).any():
            return "its bias is too large for 32 bits at the scale of its weight"
        scale = np.maximum(scale, needed)
    scale[scale <= _LEAST] = 1.0
    result: NDArray[np.float32] = scale.astype(np.float32)
    return result


def round_weight(
    weight: NDArray[np.float32], axis: int, scale: NDArray[np.float32], *, pairwise: bool
) -> NDArray[np.int8]:
    """Return a weight in int8, -127..127, halves to even; pairs fit into 16 bits if asked."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    whole = np.clip(np.rint(weight / scale.reshape(shape)), -127, 127)
    result: NDArray[np.int8] = whole.astype(np.int8)
    return keep_safe(result, axis) if pairwise else result


def round_layer(layer: Layer, weight: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return the weight of a layer as it is stored; `weight` is the float initializer."""
    if layer.integers is not None:
        return layer.integers
    scaled = weight * layer.factor
    whole = scaled if layer.pixels is None else layer.pixels.widen(scaled)
    return round_weight(whole, layer.axis, layer.scale, pairwise=layer.pairwise)


def round_bias(bias: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.int32]:
    """Return a bias in int32 at the scale of data times weight, [channels]."""
    return np.rint(bias.astype(np.float64) / scale).astype(np.int32)

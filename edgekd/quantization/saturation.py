"""Weights whose products no x86 processor cuts off: one file, one answer on every processor.

A processor without VNNI adds the products of two activations in uint8 and two weights in int8 in 16
bits (VPMADDUBSW), and what is beyond 32767 is lost. ONNX Runtime's kernels and oneDNN's, which
OpenVINO uses, do so for neighbours in the order of the sum. Two weights whose sum stays within
-128..128 are safe whatever they meet: 255 * 128 = 32640. An EfficientNet-Lite0 whose weights fill
-127..127 lost 5.1 points there.

The whole 7-bit range that is often advised costs a bit of every weight. Here the scale of a channel
grows only as far as its own pairs ask, and a few pairs are cut where that errs less.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.exporters.pair_sums import LARGEST_SUM, find_pairs

_STEPS = 9
"""Scales that are tried, from the plain one to the one at which no pair is cut."""


def find_partners(weight: NDArray[Any]) -> list[list[int]]:
    """Return for each weight of one output channel those that it shares a pair with.

    Args:
        weight: of one channel, as it is stored.

    Returns:
        By the flat order of `weight`; at most two each.
    """
    found: list[list[int]] = [[] for _ in range(weight.size)]
    for a, b in find_pairs(weight):
        for first, second in zip(a.tolist(), b.tolist(), strict=True):
            found[first].append(second)
            found[second].append(first)
    return found


def find_safe_scale(
    weight: NDArray[np.float32], axis: int, scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the scale of each channel, at least `scale`, at which its safe integers err least.

    Args:
        weight: of a Conv, [outputs, inputs, kernel...], or a matrix.
        axis: of the output channels.
        scale: [outputs], at which no weight is beyond -127..127; 0 for a channel of zeros.
    """
    channels = np.moveaxis(weight, axis, 0)
    rows = channels.reshape(len(channels), -1).astype(np.float64)
    widest = scale.copy()
    for a, b in find_pairs(channels[0]):
        sums = np.abs(rows[:, a] + rows[:, b]).max(axis=1)
        widest = np.maximum(widest, sums / LARGEST_SUM)
    found = widest.copy()
    for chosen in _blocks(np.flatnonzero(widest > scale), rows.shape[1]):
        found[chosen] = _least_error(channels[chosen], scale[chosen], widest[chosen])
    return found


def _blocks(channels: NDArray[np.int64], inputs: int) -> Iterator[NDArray[np.int64]]:
    """Cut channels into parts of some million weights, so that memory stays flat."""
    at_once = max(1, 2**22 // max(1, inputs))
    for start in range(0, len(channels), at_once):
        yield channels[start : start + at_once]


def _least_error(
    channels: NDArray[np.float32], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.float64]:
    shape = (-1, *[1] * (channels.ndim - 1))
    rest = tuple(range(1, channels.ndim))
    best, least = high.copy(), np.full(len(high), np.inf)
    for step in range(_STEPS):
        scale = low * (high / low) ** (step / (_STEPS - 1))
        whole = np.clip(np.rint(channels / scale.reshape(shape)), -127, 127).astype(np.int8)
        made = keep_safe(whole, 0) * scale.reshape(shape)
        error = np.square(made - channels).sum(axis=rest)
        best = np.where(error < least, scale, best)
        least = np.minimum(error, least)
    return best


def keep_safe(weight: NDArray[np.int8], axis: int) -> NDArray[np.int8]:
    """Return integers in which both of an unsafe pair are moved towards 0, equally.

    Args:
        weight: of a Conv, [outputs, inputs, kernel...], or a matrix, -127..127.
        axis: of the output channels.
    """
    channels = np.moveaxis(weight, axis, 0)
    rows = channels.reshape(len(channels), -1).astype(np.int16)
    for a, b in find_pairs(channels[0]):
        first, second = rows[:, a], rows[:, b]
        sums = first + second
        # Both have the sign of their sum and are larger than half of what is too much.
        more = np.maximum(np.abs(sums) - LARGEST_SUM, 0)
        half = more // 2
        larger = np.abs(first) >= np.abs(second)
        rows[:, a] = first - np.sign(sums) * np.where(larger, more - half, half)
        rows[:, b] = second - np.sign(sums) * np.where(larger, half, more - half)
    back = np.moveaxis(rows.astype(np.int8).reshape(channels.shape), 0, axis)
    return np.ascontiguousarray(back)

"""Pairs of weights whose products an x86 processor without VNNI adds in 16 bits.

VPMADDUBSW adds two products of uint8 and int8 and cuts off what is beyond 32767. ONNX Runtime's
kernels and oneDNN's, which OpenVINO uses, give it neighbours in the order of the sum. Depthwise
layers and uint8 weights have kernels that add in 32 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST_SUM = 128
"""Of two int8 weights that are multiplied by neighbours: 255 * 128 fits into 16 bits."""


def find_pairs(weight: NDArray[Any]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return the places of all pairs of weights of one output channel.

    Neighbours are input channels at one place of the kernel. With an odd number of them ONNX
    Runtime goes on with the next place, oneDNN does not: both pairings are returned.

    Args:
        weight: of one channel, as it is stored: [inputs] or [inputs, kernel...].

    Returns:
        First and second places, each in the flat order of `weight`, for each pairing.
    """
    places = np.arange(weight.size, dtype=np.int64).reshape(weight.shape)
    last = np.moveaxis(places, 0, -1)  # the order of the sum: kernel, then channels
    inputs = len(weight)
    even = last[..., : inputs - inputs % 2]
    found = [(even[..., 0::2].reshape(-1), even[..., 1::2].reshape(-1))]
    if inputs % 2 and last.size > inputs:
        flat = last.reshape(-1)[: last.size - last.size % 2]
        found.append((flat[0::2], flat[1::2]))
    return [pair for pair in found if len(pair[0])]


def count_unsafe(weight: NDArray[np.int8], axis: int) -> int:
    """Return how many pairs of weights can leave 16 bits.

    Args:
        weight: of a Conv, [outputs, inputs, kernel...], or a matrix.
        axis: of the output channels.
    """
    channels = np.moveaxis(weight, axis, 0)
    rows = channels.reshape(len(channels), -1).astype(np.int16)
    pairs = find_pairs(channels[0])
    return sum(int((abs(rows[:, a] + rows[:, b]) > LARGEST_SUM).sum()) for a, b in pairs)

"""Masks over time and over frequency (SpecAugment, Park et al. 2019, section 2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.seeded_random import below, mix

_PURPOSE = 7  # keeps these draws apart from those of orders, views and mixing


def mask_axis(
    signals: NDArray[Any],
    axis: int,
    most: int,
    index: NDArray[np.int64],
    *,
    seed: int,
    view: int,
    lane: int,
) -> NDArray[Any]:
    """Replace a stretch along an axis of each signal [n, ...] by the mean of the signal.

    Its length is 0 to `most`, its place any at which it fits.

    Args:
        signals: numbers; whole ones get the mean rounded.
        axis: at least 1; `most` is less than its length.
        most: the longest stretch.
        index: the numbers of the samples in the data set.
        seed: of the recipe.
        view: its number.
        lane: keeps the draws of several axes apart.
    """
    length = signals.shape[axis]
    size = below(mix(_PURPOSE, seed, view, index, 2 * lane), most + 1)
    places = np.array([length], np.int64) - size + 1
    bits = mix(_PURPOSE, seed, view, index, 2 * lane + 1)
    start = ((bits >> np.uint64(32)) * places.astype(np.uint64) >> np.uint64(32)).astype(np.int64)
    position = np.arange(length)
    hidden = (position >= start[:, None]) & (position < (start + size)[:, None])
    shape = [len(signals)] + [length if i == axis else 1 for i in range(1, signals.ndim)]
    means = np.stack([one.mean(dtype=np.float64) for one in signals])
    if signals.dtype.kind != "f":
        means = np.rint(means)
    fill = means.astype(signals.dtype).reshape(-1, *[1] * (signals.ndim - 1))
    masked: NDArray[Any] = np.where(hidden.reshape(shape), fill, signals)
    return masked

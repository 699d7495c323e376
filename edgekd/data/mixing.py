"""Mixup and cutmix: each sample and its partner, both functions of (seed, view number, index).

The partner is any sample of the split, not one of the same batch, so that a view does not depend on
the batch that it came in, and a teacher's outputs for it can be cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import Arrays
from edgekd.data.seeded_random import below, mix

_PURPOSE = 6  # keeps these draws apart from those of orders and views
_PARTNER, _KIND, _ROW, _COLUMN, _SHARE = range(5)
_TRIES = 64
WHOLE = 256
"""Shares count in 256ths: pixels are then mixed in whole numbers, alike on every machine."""


@dataclass(frozen=True, eq=False)
class Mixed:
    """What a batch of mixed samples has of their partners."""

    targets: Arrays
    """Those of the partners."""
    share: NDArray[np.float32]
    """[n] The share of the sample itself, 0 to 1; the rest is the partner's."""


def draw_partners(
    index: NDArray[np.int64], split: NDArray[np.int64], *, seed: int, view: int
) -> NDArray[np.int64]:
    """Return the number of the partner of each of `index` [n], one of `split`."""
    return split[below(mix(_PURPOSE, seed, view, index, _PARTNER), len(split))]


def draw_shares(
    alpha: float, index: NDArray[np.int64], *, seed: int, view: int
) -> NDArray[np.int64]:
    """Return draws [n] of Beta(alpha, alpha) in 256ths, 0 to 256.

    Johnk's method (Devroye 1986, chapter IX.3.5): of x = u^(1/alpha) and y = v^(1/alpha), the first
    pair with x + y <= 1 gives x / (x + y). `alpha` is at most 1, so that it comes soon.
    """
    found = np.full(len(index), WHOLE // 2, np.int64)
    waiting = np.ones(len(index), bool)
    for trial in range(_TRIES):
        x, y = (
            _unit(mix(_PURPOSE, seed, view, index, _SHARE + 2 * trial + k)) ** (1 / alpha)
            for k in (0, 1)
        )
        fits = waiting & (x + y <= 1) & (x + y > 0)
        found[fits] = np.rint(WHOLE * x[fits] / (x + y)[fits]).astype(np.int64)
        waiting &= ~fits
        if not waiting.any():
            break
    return found


def draw_cutmix(
    index: NDArray[np.int64], *, mixup: bool, cutmix: bool, seed: int, view: int
) -> NDArray[np.bool_]:
    """Return which of `index` [n] get a box of their partner; the others are blended with it."""
    if not (mixup and cutmix):
        return np.full(len(index), cutmix)
    return np.asarray(mix(_PURPOSE, seed, view, index, _KIND) >> np.uint64(63) == 1)


def _unit(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers above 0 and below 1."""
    return ((bits >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def blend(samples: NDArray[Any], partners: NDArray[Any], share: NDArray[np.int64]) -> NDArray[Any]:
    """Return share / 256 of each sample [n, ...] and the rest of its partner (Zhang et al. 2018).

    uint8 is rounded half up; floating point numbers keep their type.
    """
    shape = (-1, *[1] * (samples.ndim - 1))
    if samples.dtype == np.uint8:
        own = share.astype(np.uint16).reshape(shape)
        total = samples * own + partners * (np.uint16(WHOLE) - own)
        pixels: NDArray[np.uint8] = ((total + np.uint16(WHOLE // 2)) >> 8).astype(np.uint8)
        return pixels
    part = (share / WHOLE).astype(samples.dtype).reshape(shape)
    mixed: NDArray[Any] = samples * part + partners * (1 - part)
    return mixed


def draw_boxes(
    height: int,
    width: int,
    sides: NDArray[np.int64],
    rows: NDArray[np.uint64],
    columns: NDArray[np.uint64],
) -> NDArray[np.int64]:
    """Return boxes [n, 4] (top, bottom, left, right) with any pixel as centre, cut at the borders.

    `sides` [n, 2] are height and width before the cut, `rows` and `columns` [n] are random bits.
    """
    found = []
    for length, side, bits in ((height, sides[:, 0], rows), (width, sides[:, 1], columns)):
        start = below(bits, length) - side // 2
        found += [np.clip(start, 0, length), np.clip(start + side, 0, length)]
    return np.stack(found, axis=1)


def paste_boxes(
    images: NDArray[np.uint8],
    partners: NDArray[np.uint8],
    share: NDArray[np.int64],
    index: NDArray[np.int64],
    *,
    seed: int,
    view: int,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Replace a box of each image [n, height, width, c] by its partner's (Yun et al. 2019).

    The box has the share 1 - `share` / 256 of the area before it is cut at the borders.

    Returns:
        the images, and the share that is left of each of them, in 256ths.
    """
    height, width = images.shape[1:3]
    side = np.sqrt(1 - share / WHOLE)[:, None]
    sides = np.rint(side * np.array([height, width])).astype(np.int64)
    rows, columns = (mix(_PURPOSE, seed, view, index, lane) for lane in (_ROW, _COLUMN))
    boxes = draw_boxes(height, width, sides, rows, columns)
    found = images.copy()
    for image, partner, (top, bottom, left, right) in zip(found, partners, boxes, strict=True):
        image[top:bottom, left:right] = partner[top:bottom, left:right]
    area = (boxes[:, 1] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 2])
    return found, np.rint(WHOLE * (1 - area / (height * width))).astype(np.int64)

"""Bilinear resizing as two small matrices: pixel centres at half integers (`align_corners=False`).

Shrinking widens the triangle by the factor, so that every pixel counts (no aliasing): the same as
Pillow's BILINEAR and torch's `interpolate(antialias=True)`. Enlarging is plain bilinear.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, section 2.5.1


@lru_cache(maxsize=64)
def weights(old: int, new: int) -> Floats:
    """Return the matrix [new, old] that resizes a line of `old` pixels to `new`; rows sum to 1."""
    stretch = max(old / new, 1.0)
    centre = (np.arange(new) + 0.5) * old / new - 0.5
    distance = np.abs(np.arange(old)[None, :] - centre[:, None])
    triangle = np.maximum(0.0, 1.0 - distance / stretch)
    matrix: Floats = (triangle / triangle.sum(axis=1, keepdims=True)).astype(np.float32)
    matrix.flags.writeable = False
    return matrix


def to_planes(pixels: NDArray[np.uint8], channels: int) -> Floats:
    """Turn uint8 [n, height, width, c] into float32 [n, channels, height, width], values 0..255.

    Grey to RGB repeats the plane; RGB to grey is the luma of ITU-R BT.601.
    """
    planes: Floats = pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    if planes.shape[1] == channels:
        return planes
    if channels == 1:
        return np.tensordot(_LUMA, planes, axes=(0, 1))[:, None]
    return np.repeat(planes, channels, axis=1)


def resize(planes: Floats, *, height: int, width: int) -> Floats:
    """Resize float32 [n, c, h, w] to [n, c, height, width]; the very array where sizes agree."""
    n, c, old_height, old_width = planes.shape
    if old_width != width:
        planes = (planes.reshape(-1, old_width) @ weights(old_width, width).T).reshape(
            n, c, old_height, width
        )
    if old_height != height:
        planes = np.matmul(weights(old_height, height), planes)
    return planes


def to_pixels(planes: Floats) -> NDArray[np.uint8]:
    """Round float32 [n, c, h, w] in 0..255 to uint8 [n, h, w, c]. Overwrites `planes`.

    Rows of `weights` are averages, so no value leaves 0..255 by more than rounding: no clip needed.
    """
    planes += np.float32(0.5)
    return planes.transpose(0, 2, 3, 1).astype(np.uint8, order="C")

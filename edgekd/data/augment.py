"""Augmentation of images. A view is a function of (seed, view number, index), in any process.

Exact resume, a teacher's cached answers and several processes all rest on that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgekd.data.dataset import Dataset
from edgekd.data.seeded_random import below, mix
from edgekd.errors import DataError
from edgekd.options import Options

_PURPOSE = 2


class Augment(Options):
    """Augmentation of training images. Other kinds of data cannot be augmented."""

    crop: int = Field(
        default=0,
        ge=0,
        le=512,
        description="random shift of up to this many pixels; borders are reflected",
    )
    shift: int = Field(
        default=0,
        ge=0,
        le=512,
        description="random shift of up to this many pixels; borders are repeated",
    )
    flip: bool = Field(
        default=False, description="mirror half of the images left to right, at random"
    )

    @property
    def active(self) -> bool:
        """Whether anything is varied."""
        return bool(self.crop or self.shift or self.flip)


def check_augment(options: Augment, dataset: Dataset) -> None:
    """Raise DataError if this data cannot be varied so."""
    if not options.active:
        return
    if dataset.kind != "image":
        raise DataError(
            f"augment = {options.model_dump(exclude_defaults=True)} is for images, and the data is "
            f"of kind {dataset.kind!r}; remove it"
        )
    if "mask" in dataset.targets:
        raise DataError(
            "augment moves the pixels of images, but not those of their masks; remove it, or vary "
            "images and masks alike in the data itself"
        )
    side = min(dataset.samples["image"].shape[1:3])
    if max(options.crop, options.shift) >= side:
        raise DataError(
            f"augment moves images by up to {max(options.crop, options.shift)} pixels, but their "
            f"shorter side has {side}; an eighth of the side is usual"
        )


def augment(
    images: NDArray[np.uint8],
    *,
    seed: int,
    view: int,
    index: NDArray[np.int64],
    options: Augment,
) -> NDArray[np.uint8]:
    """Return view number `view` of each of uint8 [n, height, width, c].

    `index` [n] are the numbers of the samples in their data set.
    """
    if not options.active:
        return images
    n, height, width, channels = images.shape
    rows = _positions(height, seed, view, index, options, lane=0)
    columns = _positions(width, seed, view, index, options, lane=2)
    if options.flip:
        mirrored = mix(_PURPOSE, seed, view, index, 4) >> np.uint64(63) == 1
        columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
    first = np.arange(n, dtype=np.int64)[:, None, None] * (height * width)
    flat = first + rows[:, :, None] * width + columns[:, None, :]
    pixels: NDArray[np.uint8] = images.reshape(-1, channels).take(flat.reshape(-1), axis=0)
    return pixels.reshape(images.shape)


def _positions(
    length: int, seed: int, view: int, index: NDArray[np.int64], options: Augment, *, lane: int
) -> NDArray[np.int64]:
    """Return for each image [n, length]: the line of the image that each line of the view shows."""
    last = length - 1
    position = np.arange(length, dtype=np.int64)[None, :]
    if options.crop:
        move = below(mix(_PURPOSE, seed, view, index, lane), 2 * options.crop + 1) - options.crop
        position = last - np.abs(last - np.abs(position + move[:, None]))
    if options.shift:
        move = below(mix(_PURPOSE, seed, view, index, lane + 1), 2 * options.shift + 1)
        position = np.clip(position + (move - options.shift)[:, None], 0, last)
    return np.broadcast_to(position, (len(index), length))

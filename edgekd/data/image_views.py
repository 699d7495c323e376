"""Views of images: moved, cropped, recoloured, with a square cut out; each image on its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekd.data.augment import Augment
from edgekd.data.mixing import draw_boxes
from edgekd.data.picture_changes import crop_resized, jitter, trivial
from edgekd.data.seeded_random import below, mix

Pixels = NDArray[np.uint8]
_PURPOSE = 2
_FLIP, _CROPPED, _TRIVIAL, _JITTER, _CUTOUT = 4, 5, 9, 12, 16  # 0 to 3: crop and shift
_PER_PICTURE = _CUTOUT - _CROPPED


def vary_images(
    images: Pixels, *, seed: int, view: int, index: NDArray[np.int64], options: Augment
) -> Pixels:
    """Return view number `view` of each of uint8 [n, height, width, c].

    In this order: resized crop, crop, shift, flip, TrivialAugment, jitter, cutout.

    Args:
        images: they are not changed.
        seed: of the recipe.
        view: its number.
        index: [n] the numbers of the samples in their data set.
        options: those of mixing are not applied here.
    """
    if options.resized_crop is not None or options.trivial_augment or options.jitter is not None:
        lanes = range(_CROPPED, _CROPPED + _PER_PICTURE)
        bits = np.stack([mix(_PURPOSE, seed, view, index, lane) for lane in lanes], axis=1)
    if options.resized_crop is not None:
        least, draws = options.resized_crop, bits.tolist()
        pairs = zip(images, draws, strict=True)
        images = _stack([_pixels(crop_resized(_picture(i), least, d)) for i, d in pairs], images)
    if options.crop or options.shift or options.flip:
        images = _move(images, seed=seed, view=view, index=index, options=options)
    if options.trivial_augment or options.jitter is not None:
        pairs = zip(images, bits.tolist(), strict=True)
        images = _stack([_recolour(image, options, draws) for image, draws in pairs], images)
    if options.cutout:
        images = _cut_out(images, options.cutout, seed=seed, view=view, index=index)
    return images


def _picture(image: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))


def _pixels(picture: Image.Image) -> Pixels:
    return np.asarray(picture)


def _stack(changed: Sequence[Pixels], images: Pixels) -> Pixels:
    return np.stack(changed).reshape(images.shape)


def _recolour(image: Pixels, options: Augment, draws: Sequence[int]) -> Pixels:
    picture = _picture(image)
    if options.trivial_augment:
        picture = trivial(picture, draws[_TRIVIAL - _CROPPED :])
    if options.jitter is not None:
        picture = jitter(picture, options.jitter, draws[_JITTER - _CROPPED :])
    return _pixels(picture)


def _move(
    images: Pixels, *, seed: int, view: int, index: NDArray[np.int64], options: Augment
) -> Pixels:
    n, height, width, channels = images.shape
    rows = _positions(height, seed, view, index, options, lane=0)
    columns = _positions(width, seed, view, index, options, lane=2)
    if options.flip:
        mirrored = mix(_PURPOSE, seed, view, index, _FLIP) >> np.uint64(63) == 1
        columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
    first = np.arange(n, dtype=np.int64)[:, None, None] * (height * width)
    flat = first + rows[:, :, None] * width + columns[:, None, :]
    pixels: Pixels = images.reshape(-1, channels).take(flat.reshape(-1), axis=0)
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


def _cut_out(
    images: Pixels, side: int, *, seed: int, view: int, index: NDArray[np.int64]
) -> Pixels:
    """Fill a square with any pixel as centre with the mean colour (DeVries and Taylor 2017)."""
    height, width = images.shape[1:3]
    sides = np.full((len(images), 2), side, np.int64)
    rows, columns = (mix(_PURPOSE, seed, view, index, _CUTOUT + k) for k in (0, 1))
    found = images.copy()
    total = images.sum(axis=(1, 2), dtype=np.int64)
    means = (total + height * width // 2) // (height * width)
    boxes = draw_boxes(height, width, sides, rows, columns)
    for image, mean, (top, bottom, left, right) in zip(found, means, boxes, strict=True):
        image[top:bottom, left:right] = mean
    return found

"""Changes of one picture by Pillow: resized crops, colours, TrivialAugment.

Each is a function of the picture and of random bits, 64 at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from edgekd.data.augment import Jitter

Picture = Image.Image
LEVELS = 31
"""Strengths of TrivialAugment, 0 to 30."""
_MOST_SHIFT = 32
_RATIO = 4 / 3


def unit(bits: int) -> float:
    """Return a number from 0 to below 1 from 64 random bits."""
    return (bits >> 11) / 2.0**53


def pick(bits: int, limit: int) -> int:
    """Return a whole number from 0 to `limit` - 1 from 64 random bits."""
    return (bits >> 32) * limit >> 32


def crop_resized(picture: Picture, least: float, bits: Sequence[int]) -> Picture:
    """Cut out a box and resize it to the size of the picture (Szegedy et al. 2015, section 6).

    The area is `least` to 1 of the whole, the aspect 3/4 to 4/3 of the picture's own; a side
    that would be longer than the picture's is cut to it. Uses four of `bits`.
    """
    width, height = picture.size
    area = least + (1 - least) * unit(bits[0])
    stretch = _RATIO ** (2 * unit(bits[1]) - 1)
    w = min(width, max(1, round(width * (area * stretch) ** 0.5)))
    h = min(height, max(1, round(height * (area / stretch) ** 0.5)))
    left, top = pick(bits[2], width - w + 1), pick(bits[3], height - h + 1)
    box = (left, top, left + w, top + h)
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=box)


def jitter(picture: Picture, options: Jitter, bits: Sequence[int]) -> Picture:
    """Change brightness, contrast, saturation and hue, in this order. Uses four of `bits`."""
    for enhance, most, draw in (
        (ImageEnhance.Brightness, options.brightness, bits[0]),
        (ImageEnhance.Contrast, options.contrast, bits[1]),
        (ImageEnhance.Color, options.saturation, bits[2]),
    ):
        if most:
            picture = enhance(picture).enhance(1 + most * (2 * unit(draw) - 1))
    if options.hue and picture.mode == "RGB":
        picture = turn_hue(picture, round(256 * options.hue * (2 * unit(bits[3]) - 1)))
    return picture


def turn_hue(picture: Picture, turn: int) -> Picture:
    """Turn the hue of an RGB picture by `turn` 256ths of the circle."""
    hue, saturation, value = picture.convert("HSV").split()
    turned = ((np.asarray(hue).astype(np.int16) + turn) % 256).astype(np.uint8)
    bands = (Image.fromarray(turned), saturation, value)
    return Image.merge("HSV", bands).convert("RGB")


def trivial(picture: Picture, bits: Sequence[int]) -> Picture:
    """Apply one of `OPERATIONS` with a random strength and sign (TrivialAugment).

    Mueller and Hutter 2021 (arXiv 2103.10158), the wide space of table 1. Uses three of `bits`.
    """
    operation = OPERATIONS[pick(bits[0], len(OPERATIONS))]
    level = pick(bits[1], LEVELS) / (LEVELS - 1)
    return operation(picture, level, -1 if bits[2] >> 63 else 1)


Operation = Callable[[Picture, float, int], Picture]
"""Of a picture, a strength from 0 to 1 and a sign. What leaves the picture is replaced by black."""


def _affine(picture: Picture, *matrix: float) -> Picture:
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix)


def _identity(picture: Picture, level: float, sign: int) -> Picture:
    return picture


def shear_x(picture: Picture, level: float, sign: int) -> Picture:
    """Shear along the rows, by up to 0.99 pixels per row."""
    return _affine(picture, 1, sign * 0.99 * level, 0, 0, 1, 0)


def shear_y(picture: Picture, level: float, sign: int) -> Picture:
    """Shear along the columns, by up to 0.99 pixels per column."""
    return _affine(picture, 1, 0, 0, sign * 0.99 * level, 1, 0)


def translate_x(picture: Picture, level: float, sign: int) -> Picture:
    """Move left or right, by up to 32 pixels."""
    return _affine(picture, 1, 0, sign * int(_MOST_SHIFT * level), 0, 1, 0)


def translate_y(picture: Picture, level: float, sign: int) -> Picture:
    """Move up or down, by up to 32 pixels."""
    return _affine(picture, 1, 0, 0, 0, 1, sign * int(_MOST_SHIFT * level))


def rotate(picture: Picture, level: float, sign: int) -> Picture:
    """Rotate around the centre, by up to 135 degrees."""
    return picture.rotate(sign * 135 * level)


def _enhancing(enhance: Callable[[Picture], ImageEnhance._Enhance]) -> Operation:
    def operation(picture: Picture, level: float, sign: int) -> Picture:
        return enhance(picture).enhance(1 + sign * 0.99 * level)

    return operation


def posterize(picture: Picture, level: float, sign: int) -> Picture:
    """Keep the upper 8 to 2 bits."""
    return ImageOps.posterize(picture, 8 - round(6 * level))


def solarize(picture: Picture, level: float, sign: int) -> Picture:
    """Invert what is not below a threshold, 255 to 0."""
    return ImageOps.solarize(picture, threshold=255 - round(255 * level))


def _auto_contrast(picture: Picture, level: float, sign: int) -> Picture:
    return ImageOps.autocontrast(picture)


def _equalize(picture: Picture, level: float, sign: int) -> Picture:
    return ImageOps.equalize(picture)


OPERATIONS: Sequence[Operation] = (
    _identity,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
    rotate,
    _enhancing(ImageEnhance.Brightness),
    _enhancing(ImageEnhance.Color),
    _enhancing(ImageEnhance.Contrast),
    _enhancing(ImageEnhance.Sharpness),
    posterize,
    solarize,
    _auto_contrast,
    _equalize,
)

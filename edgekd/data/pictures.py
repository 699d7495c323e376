"""From a picture file to the pixels of a data set. Training and the app run this very file.

It needs only numpy and Pillow. A bundle contains a copy of it, as the first part of its loader.

* Pixels are upright (EXIF), 8 bits a channel, grey or RGB. CMYK and palettes become RGB, of 16 bits
  the high byte is taken, of several frames the first. What is transparent shows the background.
* `crop` cuts out the largest centred box of the wanted aspect, in whole pixels. `stretch` takes the
  whole picture and changes its aspect. `pad` keeps both and fills the borders.
* Then the box is resized to the wanted height and width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Pixels = NDArray[np.uint8]
"""[height, width, channels]"""
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, kw_only=True)
class Form:
    """What every picture becomes, and how: `picture` in preprocess.json."""

    height: int
    width: int
    channels: Literal[1, 3] = 3
    """1: grey, 3: RGB."""
    resize: Literal["crop", "stretch", "pad"] = "crop"
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bilinear"
    antialias: bool = True
    """Average over all pixels when a picture shrinks; without it only the nearest 2 or 4 count."""
    pad_value: int = 114
    """Brightness of the borders of `pad`, 0 to 255."""
    background: int = 255
    """Brightness behind transparent pixels, 0 to 255."""

    def __post_init__(self) -> None:
        """Refuse sizes and values that no picture has."""
        sizes = 1 <= self.height <= 8192 and 1 <= self.width <= 8192
        if not sizes or not (0 <= self.pad_value <= 255 and 0 <= self.background <= 255):
            raise ValueError(f"{self}: sides are 1 to 8192, values 0 to 255")


def decode(file: Path | str | BinaryIO, form: Form) -> Pixels:
    """Read a picture file: all its pixels, upright, with the channels of `form`.

    Raises:
        ValueError: its numbers are no brightness (floating point, or 32 bits).
    """
    with Image.open(file) as opened:
        return to_pixels(opened, form)


def to_pixels(picture: Image.Image, form: Form) -> Pixels:
    """Do the same with a picture that is open.

    Raises:
        ValueError: see `decode`.
    """
    image = ImageOps.exif_transpose(picture)
    if image.mode.startswith("I"):
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 65535:
            raise ValueError("it has 32 bits a channel; save it with 8 or 16")
        pixels = (deep >> 8).astype(np.uint8)[:, :, None]
    elif image.mode == "F":
        raise ValueError("its pixels are floating point numbers; save it with 8 bits a channel")
    elif image.has_transparency_data:
        wide = np.asarray(image.convert("RGBA")).astype(np.uint16)
        colour, alpha = wide[:, :, :3], wide[:, :, 3:]
        mixed = colour * alpha + np.uint16(form.background) * (255 - alpha)
        pixels = ((mixed + 127) // 255).astype(np.uint8)
    else:
        grey = image.mode in ("1", "L")
        pixels = np.asarray(image.convert("L" if grey else "RGB"))
        pixels = pixels.reshape(*pixels.shape[:2], -1)
    return to_channels(pixels, form.channels)


def to_channels(pixels: Pixels, channels: int) -> Pixels:
    """Turn uint8 [..., 1 or 3] into [..., channels]: grey is repeated, RGB becomes its luma.

    The luma is that of ITU-R BT.601 in whole numbers: (19595 R + 38470 G + 7471 B + 32768) >> 16.
    """
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    wide = pixels.astype(np.int32)
    luma = 19595 * wide[..., :1] + 38470 * wide[..., 1:2] + 7471 * wide[..., 2:]
    return ((luma + 32768) >> 16).astype(np.uint8)


def fit(pixels: Pixels, form: Form) -> Pixels:
    """Bring a whole picture to the height and width of `form`; channels stay as they are."""
    (height, width), (new_height, new_width) = pixels.shape[:2], (form.height, form.width)
    is_wider = width * new_height > height * new_width
    if form.resize == "crop":
        if is_wider:
            box = height, max(1, (2 * height * new_width + new_height) // (2 * new_height))
        else:
            box = max(1, (2 * width * new_height + new_width) // (2 * new_width)), width
        top, left = (height - box[0]) // 2, (width - box[1]) // 2
        pixels = pixels[top : top + box[0], left : left + box[1]]
    if form.resize != "pad":
        return resize(pixels, new_height, new_width, form)
    if is_wider:
        inner = max(1, (2 * height * new_width + width) // (2 * width)), new_width
    else:
        inner = new_height, max(1, (2 * width * new_height + height) // (2 * height))
    found = np.full((new_height, new_width, pixels.shape[2]), form.pad_value, np.uint8)
    top, left = (new_height - inner[0]) // 2, (new_width - inner[1]) // 2
    found[top : top + inner[0], left : left + inner[1]] = resize(pixels, *inner, form)
    return found


def resize(pixels: Pixels, height: int, width: int, form: Form) -> Pixels:
    """Resize to exactly this height and width, first along the rows, then along the columns."""
    if pixels.shape[:2] == (height, width):
        return pixels
    if form.interpolation == "nearest":
        rows = (2 * np.arange(height) + 1) * pixels.shape[0] // (2 * height)
        columns = (2 * np.arange(width) + 1) * pixels.shape[1] // (2 * width)
        nearest: Pixels = pixels[rows[:, None], columns]
        return nearest
    if not form.antialias:
        turned = _blend(pixels.transpose(1, 0, 2), width, form.interpolation).transpose(1, 0, 2)
        return _blend(turned, height, form.interpolation)
    plain = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    image = Image.fromarray(np.ascontiguousarray(plain))
    for size in ((width, image.height), (width, height)):  # in one call, Pillow chooses the order
        image = image.resize(size, _FILTERS[form.interpolation])
    return np.asarray(image).reshape(height, width, -1)


def _blend(pixels: Pixels, new: int, interpolation: str) -> Pixels:
    """Resize the first axis to `new`: of the nearest 2 (bilinear) or 4 (bicubic), no average.

    Weights count in 2 ** -22, as Pillow's do, so that every program gets the same pixels.
    """
    old, reach = len(pixels), 2 if interpolation == "bicubic" else 1
    if old == new:
        return pixels
    centre = (np.arange(new) + 0.5) * (old / new)
    at = np.trunc(centre - reach + 0.5).astype(np.int64)[:, None] + np.arange(2 * reach + 1)
    x = np.abs(at - centre[:, None] + 0.5)
    weight = np.maximum(1.0 - x, 0.0)
    if interpolation == "bicubic":  # Keys (1981) with a = -0.5, as in Pillow
        far = ((((x - 5) * x + 8) * x) - 4) * -0.5
        weight = np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, far, 0.0))
    weight = np.where((at >= 0) & (at < old), weight, 0.0)
    weight /= np.add.accumulate(weight, axis=1)[:, -1:]
    whole = np.trunc(weight * (1 << 22) + np.where(weight < 0, -0.5, 0.5)).astype(np.int64)
    sums = np.full((new, *pixels.shape[1:]), 1 << 21, np.int64)
    for k in range(at.shape[1]):
        sums += whole[:, k, None, None] * pixels[np.clip(at[:, k], 0, old - 1)]
    found: Pixels = np.clip(sums >> 22, 0, 255).astype(np.uint8)
    return found

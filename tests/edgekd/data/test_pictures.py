"""What a picture file becomes, by rules that another program can follow to the last bit."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgekd.data.pictures import Form, decode, fit, resize, to_channels

Way = Literal["crop", "stretch", "pad"]

RANDOM = np.random.default_rng(0)
COLOUR = Form(height=8, width=8)
PHOTO = RANDOM.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def pixels(*shape: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def keys(x: float) -> float:
    """The cubic of Keys (1981) with a = -0.5."""
    x = abs(x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * -0.5 if x < 2 else 0.0


def resized_line(line: list[int], new: int, *, bicubic: bool, antialias: bool) -> list[int]:
    """Resize one line of pixels in plain arithmetic, with weights of 22 bits."""
    old, kernel, found = len(line), keys if bicubic else triangle, []
    if new == old:
        return line
    scale = old / new
    stretch = max(scale, 1.0) if antialias else 1.0
    reach = (2 if bicubic else 1) * stretch
    for i in range(new):
        centre = (i + 0.5) * scale
        low, high = max(0, int(centre - reach + 0.5)), min(old, int(centre + reach + 0.5))
        weights = [kernel((k - centre + 0.5) * (1 / stretch)) for k in range(low, high)]
        total = 0.0
        for weight in weights:
            total += weight
        mixed = 1 << 21
        for k, weight in zip(range(low, high), weights, strict=True):
            share = weight / total
            mixed += int(share * (1 << 22) + (-0.5 if share < 0 else 0.5)) * line[k]
        found.append(min(255, max(0, mixed >> 22)))
    return found


@pytest.mark.parametrize("bicubic", [False, True])
@pytest.mark.parametrize("antialias", [False, True])
def test_resizing_is_plain_arithmetic_rows_first(bicubic: bool, antialias: bool) -> None:
    """A program in any language gets these very pixels: no library decides."""
    form = Form(
        height=1, width=1, interpolation="bicubic" if bicubic else "bilinear", antialias=antialias
    )
    sizes = [((9, 14), (5, 7)), ((30, 3), (7, 11)), ((1, 40), (6, 6)), ((44, 33), (30, 57))]
    for (height, width), (new_height, new_width) in sizes:
        source = pixels(height, width, 1)
        rows = [
            resized_line(row, new_width, bicubic=bicubic, antialias=antialias)
            for row in source[:, :, 0].tolist()
        ]
        columns = [
            resized_line(list(column), new_height, bicubic=bicubic, antialias=antialias)
            for column in zip(*rows, strict=True)
        ]
        found = resize(source, new_height, new_width, form)[:, :, 0]
        np.testing.assert_array_equal(found, np.array(columns).T)


def test_the_nearest_pixel_is_the_one_below_the_centre() -> None:
    line = np.arange(5, dtype=np.uint8).reshape(1, 5, 1)
    form = Form(height=1, width=1, interpolation="nearest")
    assert resize(line, 1, 2, form).ravel().tolist() == [1, 3]  # centres at 1.25 and 3.75
    assert resize(line, 1, 10, form).ravel().tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_crop_cuts_the_largest_centred_box_of_whole_pixels() -> None:
    form = Form(height=4, width=2, interpolation="nearest")
    wide = np.arange(10, dtype=np.uint8).reshape(1, 10, 1).repeat(4, axis=0)
    assert fit(wide, form)[0].ravel().tolist() == [4, 5]
    tall = np.arange(9, dtype=np.uint8).reshape(9, 1, 1).repeat(2, axis=1)
    assert fit(tall, form)[:, 0].ravel().tolist() == [2, 3, 4, 5]  # of 9 rows the 4 from the third


def test_pad_keeps_all_and_stretch_changes_the_aspect() -> None:
    white = np.full((2, 4, 1), 255, np.uint8)
    padded = fit(white, Form(height=4, width=4, resize="pad", pad_value=7))
    assert padded[:, 0].ravel().tolist() == [7, 255, 255, 7]
    assert (fit(white, Form(height=4, width=4, resize="stretch")) == 255).all()


@pytest.mark.parametrize("way", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (1, 900), (700, 1), (3, 2)])
def test_the_oddest_sizes_become_pictures(way: Way, size: tuple[int, int]) -> None:
    form = Form(height=5, width=7, resize=way)
    assert fit(np.full((*size, 3), 114, np.uint8), form).tolist() == [[[114] * 3] * 7] * 5


def file(image: Image.Image, kind: str = "PNG", **options: object) -> io.BytesIO:
    found = io.BytesIO()
    image.save(found, kind, **options)
    found.seek(0)
    return found


def test_colour_is_as_stored_and_grey_by_luma() -> None:
    image = Image.fromarray(PHOTO)
    np.testing.assert_array_equal(decode(file(image), COLOUR), PHOTO)
    grey = decode(file(image), Form(height=8, width=8, channels=1))
    np.testing.assert_array_equal(grey[:, :, 0], np.asarray(image.convert("L")))
    np.testing.assert_array_equal(to_channels(grey, 3), np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_stand_upright(orientation: int) -> None:
    """All eight ways to hold a camera give the picture that viewers show."""
    turns: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2), 8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](PHOTO)))
    np.testing.assert_array_equal(decode(file(stored, exif=exif), COLOUR), PHOTO)


def test_what_is_transparent_shows_the_background() -> None:
    clear = np.array([[[200, 0, 100, 0], [200, 0, 100, 255], [200, 0, 100, 51]]], np.uint8)
    found = decode(file(Image.fromarray(clear)), COLOUR)
    assert found[0].tolist() == [[255] * 3, [200, 0, 100], [244, 204, 224]]
    black = decode(file(Image.fromarray(clear)), Form(height=1, width=1, background=0))
    assert black[0].tolist() == [[0] * 3, [200, 0, 100], [40, 0, 20]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7, 1, 2, 3])
    palette.putdata([0, 1])
    assert decode(file(palette, transparency=0), COLOUR)[0].tolist() == [[255] * 3, [1, 2, 3]]


def test_sixteen_bits_give_their_high_byte() -> None:
    deep = np.array([[0, 255, 256, 40_000, 65_535]], np.uint16)
    assert decode(file(Image.fromarray(deep)), COLOUR)[0, :, 0].tolist() == [0, 0, 1, 156, 255]


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "P", "1", "L", "LA", "RGBA"])
def test_every_mode_becomes_colour_or_grey(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGB", (5, 4), (255, 255, 255)).convert(mode)
    image.save(tmp_path / "x", "TIFF")
    for channels in (1, 3):
        form = Form(height=1, width=1, channels=1 if channels == 1 else 3)
        found = decode(tmp_path / "x", form)
        assert found.tolist() == [[[255] * channels] * 5] * 4


@pytest.mark.parametrize(("kind", "options"), [("JPEG", {"progressive": True}), ("WEBP", {})])
def test_other_files_are_read(kind: str, options: dict[str, object]) -> None:
    flat = Image.new("RGB", (33, 20), (90, 120, 30))
    found = decode(file(flat, kind, **options), COLOUR)
    assert found.shape == (20, 33, 3)
    assert np.abs(found.astype(int) - (90, 120, 30)).max() <= 3


def test_numbers_that_are_no_brightness_are_refused() -> None:
    for array in (np.zeros((2, 2), np.float32), np.full((2, 2), 70_000, np.int32)):
        with pytest.raises(ValueError, match="save it with 8"):
            decode(file(Image.fromarray(array), "TIFF"), COLOUR)
    with pytest.raises(ValueError, match="sides are 1 to 8192"):
        Form(height=0, width=1)

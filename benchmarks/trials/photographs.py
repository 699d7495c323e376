"""Photographs as people bring them, drawn by us: many sizes, aspects, modes and kinds of files.

The class is a shape in the middle; stretching a picture turns a circle into an ellipse, so a wrong
way to resize costs accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

CLASSES = ("circle", "ellipse", "rectangle", "square", "triangle")
FORMS = (
    *("jpeg", "lying jpeg", "progressive jpeg", "grey jpeg", "cmyk jpeg", "mirrored jpeg"),
    *("png", "palette png", "clear png", "deep grey png", "webp", "bmp"),
)
_SHORT, _LONG = 40, 300  # pixels of a shorter side
_ORIENTATION = 0x0112


def write_photographs(folder: Path, counts: dict[str, int], *, seed: int = 0) -> None:
    """Write `counts` pictures (split -> number) as folder/split/class/number.suffix."""
    for place, (split, count) in enumerate(counts.items()):
        for number in range(count):
            generator = np.random.default_rng([seed, place, number])
            kind = CLASSES[number % len(CLASSES)]
            target = folder / split / kind
            target.mkdir(parents=True, exist_ok=True)
            form = FORMS[number // len(CLASSES) % len(FORMS)]
            save(draw(kind, generator), target / f"{number:04}", form)


def draw(kind: str, generator: np.random.Generator) -> Image.Image:
    """Return a picture with this shape somewhere near its centre, upright, RGB."""
    short = int(np.exp(generator.uniform(np.log(_SHORT), np.log(_LONG))))
    aspect = float(np.exp(generator.uniform(np.log(0.45), np.log(2.2))))
    width, height = (round(short * aspect), short) if aspect > 1 else (short, round(short / aspect))
    light = generator.uniform() < 0.5
    image = Image.fromarray(_ground(height, width, generator, light=light))
    pen = ImageDraw.Draw(image)
    radius = short * generator.uniform(0.22, 0.4)
    middle = [side / 2 + generator.uniform(-0.08, 0.08) * short for side in (width, height)]
    colour = tuple(int(c) for c in generator.integers(0, 90, 3) + (0 if light else 165))
    flat = generator.uniform(1.45, 2.0) if kind in ("ellipse", "rectangle") else 1.0
    sides = (radius, radius / flat) if generator.uniform() < 0.5 else (radius / flat, radius)
    box = [middle[0] - sides[0], middle[1] - sides[1], middle[0] + sides[0], middle[1] + sides[1]]
    if kind in ("circle", "ellipse"):
        pen.ellipse(box, fill=colour)
    elif kind == "triangle":
        pen.polygon([(box[0], box[3]), (box[2], box[3]), (middle[0], box[1])], fill=colour)
    else:
        pen.rectangle(box, fill=colour)
    return image


def _ground(
    height: int, width: int, generator: np.random.Generator, *, light: bool
) -> NDArray[np.uint8]:
    """Return a coloured slope with stripes and noise, uint8 [height, width, 3]."""
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    slope = generator.uniform(-30, 30, (3, 2)) / max(height, width)
    shades = (150, 230) if light else (25, 105)
    waves = 12 * np.sin(x / generator.uniform(2, 9) + y / generator.uniform(2, 9))
    planes = [generator.uniform(*shades) + a * x + b * y + waves for a, b in slope]
    noise = generator.integers(-8, 9, (height, width, 1))
    pixels: NDArray[np.uint8] = np.clip(np.stack(planes, 2) + noise, 0, 255).astype(np.uint8)
    return pixels


def save(image: Image.Image, stem: Path, form: str) -> Path:
    """Write a picture in one of `FORMS`; return the file."""
    exif = Image.Exif()
    grey = image.convert("L")
    match form:
        case "lying jpeg":
            exif[_ORIENTATION] = 6
            return _write(image.transpose(Image.Transpose.ROTATE_90), stem, ".jpg", exif=exif)
        case "mirrored jpeg":
            exif[_ORIENTATION] = 2
            return _write(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), stem, ".jpg", exif=exif)
        case "grey jpeg":
            return _write(grey, stem, ".jpg")
        case "cmyk jpeg":
            return _write(image.convert("CMYK"), stem, ".jpeg")
        case "palette png":
            return _write(image.convert("P", palette=Image.Palette.ADAPTIVE), stem, ".png")
        case "clear png":
            image.putalpha(grey.point(lambda v: 155 + v % 101))
            return _write(image, stem, ".png")
        case "deep grey png":
            deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
            return _write(deep, stem, ".png")
        case "progressive jpeg":
            return _write(image, stem, ".JPG", progressive=True, subsampling=2)
    return _write(image, stem, f".{form}")


def _write(image: Image.Image, stem: Path, suffix: str, **options: object) -> Path:
    path = stem.with_suffix(suffix)
    kinds: dict[str, str] = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"}
    image.save(path, kinds.get(suffix, "JPEG"), **options)
    return path


def list_photographs(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the files below folder/class/ and the class of each."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return files, [path.parent.name for path in files]


def share_right(answers: Sequence[str], classes: Sequence[str]) -> float:
    """Return the share of equal names, in percent."""
    right = [one == other for one, other in zip(answers, classes, strict=True)]
    return 100.0 * sum(right) / len(right)

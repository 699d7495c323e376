"""Read a folder of images and masks: `images/name.jpg`, `masks/name.png` (a class per pixel).

Below both there may be `train/`, `val/` and `test/`. Masks have one channel: grey, palette, or 1
bit. They are brought to the size of the pictures in the same way, by the nearest pixel; the borders
of `pad` are 255, which does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekd.data.dataset import Dataset
from edgekd.data.images import list_images, open_folder
from edgekd.data.pictures import Form, fit
from edgekd.data.targets import read_masks
from edgekd.errors import DataError
from edgekd.progress import Progress
from edgekd.wording import option

IMAGES, MASKS = "images", "masks"
SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif")
_MODES = ("1", "L", "P")


def open_masks(
    folder: Path,
    *,
    size: tuple[int, int] | None,
    way: Form | None = None,
    labels: Sequence[str] | None,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Read pictures, as `open_folder` does, and the mask of each.

    Raises:
        DataError: a folder or a mask is missing, or a mask has several channels.
    """
    if not (folder / IMAGES).is_dir() or not (folder / MASKS).is_dir():
        raise DataError(
            f"{folder} has no folders {IMAGES}/ and {MASKS}/; segmentation reads images/name.jpg "
            "and masks/name.png, a class number for each pixel"
        )
    pictures = open_folder(
        folder / IMAGES,
        size=size,
        way=way,
        labels=None,
        labelled=False,
        skip_broken=skip_broken,
        progress=progress,
    )
    names = [name for name in list_images(folder / IMAGES) if name not in set(pictures.skipped)]
    assert pictures.form is not None
    form = replace(pictures.form, interpolation="nearest", pad_value=255)
    masks = np.empty((len(names), form.height, form.width), np.uint8)
    for i, name in enumerate(names):
        masks[i] = _read(_mask_of(folder, name), form)
    targets: dict[str, NDArray[Any]] = {"mask": read_masks(masks, str(folder / MASKS))}
    return replace(pictures, targets=targets, labels=tuple(labels or ()))


def refuse_masks(folder: Path) -> None:
    """Refuse to take pictures and masks for two classes.

    Raises:
        DataError: these two are the only folders.
    """
    found = {path.name for path in folder.iterdir() if path.is_dir()}
    if found == {IMAGES, MASKS}:
        raise DataError(
            f"{folder} has the folders {IMAGES}/ and {MASKS}/, which are hardly two classes; set "
            f"{option('task', 'segmentation')}, or rename the folders"
        )


def _mask_of(folder: Path, name: str) -> Path:
    stem = folder / MASKS / name
    for suffix in SUFFIXES:
        if (path := stem.with_suffix(suffix)).is_file():
            return path
    raise DataError(
        f"the picture {folder / IMAGES / name} has no mask {stem.with_suffix('.png')}; add it, or "
        "take the picture away"
    )


def _read(path: Path, form: Form) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            mode = image.mode
            pixels = np.asarray(image, np.uint8)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"the mask {path} cannot be read ({error}); write it again") from error
    if mode not in _MODES:
        raise DataError(
            f"the mask {path} has the mode {mode}; a mask has one channel of 8 bits, whose values "
            "are class numbers: save it as mode L or P"
        )
    return fit(pixels[:, :, None], form)[:, :, 0]

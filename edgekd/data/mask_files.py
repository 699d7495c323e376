"""Find the mask of each picture, and read the class numbers in a mask file.

Names agree but for what people add to them: `1.jpg` and `1_mask.png`, `1_sat.jpg` and
`1_mask.png`, `a_leftImg8bit.png` and `a_gtFine_labelIds.png`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekd.data.arrays import split_name
from edgekd.data.images import upright_size
from edgekd.errors import DataError
from edgekd.wording import option

IMAGES = ("images", "image", "imgs", "img", "jpegimages", "inputs", "pictures")
MASKS = ("masks", "mask", "segmentationclass", "annotations", "labels", "label", "gt", "targets")
"""Names of folders, in small letters."""
SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".pgm")
_JPEG = (".jpg", ".jpeg")
_ADDED = re.compile(
    r"(?i)^(?:mask|label|seg|gt|img|image)[ _.-]+|[ _.-]+(?:masks?|seg|segmentation|labels?|"
    r"gt|gtFine_labelIds|labelIds|groundtruth|ground_truth|L|images?|img|sat|leftImg8bit)$"
)
_MOST_ASPECT = 0.02


def find_folders(folder: Path) -> list[tuple[Path, Path]]:
    """Return the folders of pictures and of masks: one pair, or one in each of train, val, test.

    Nothing is returned where there are no two such folders.
    """
    inner = sorted(path for path in folder.iterdir() if path.is_dir() and split_name(path.name))
    pairs = [pair for part in (folder, *inner) for pair in _pair(part)]
    return pairs[:1] if pairs and pairs[0][0].parent == folder else pairs


def _pair(folder: Path) -> Iterator[tuple[Path, Path]]:
    named = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    pictures, masks = (
        next((named[name] for name in names if name in named), None) for names in (IMAGES, MASKS)
    )
    if pictures is not None and masks is not None:
        yield pictures, masks


class MaskFinder:
    """The masks below a folder, by the picture that each belongs to."""

    def __init__(self, folder: Path) -> None:
        """List the files below `folder`."""
        self.folder = folder
        self._exact: dict[tuple[str, str], Path] = {}
        self._alike: dict[tuple[str, str], list[Path]] = {}
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in (*SUFFIXES, *_JPEG) and not path.name.startswith("."):
                where = path.parent.relative_to(folder).as_posix()
                if path.suffix.lower() in SUFFIXES or (where, path.stem) not in self._exact:
                    self._exact[where, path.stem] = path
                self._alike.setdefault((where, _stripped(path.stem)), []).append(path)

    def mask_of(self, picture: Path, inside: Path) -> Path:
        """Return the mask of a picture; `inside` is its path below the folder of pictures.

        Raises:
            DataError: there is none, or several, or it is a JPEG.
        """
        where = inside.parent.as_posix()
        exact = self._exact.get((where, inside.stem))
        alike = self._alike.get((where, _stripped(inside.stem)), [])
        if exact is None and len(alike) > 1:
            raise DataError(
                f"the picture {picture} has several masks: {', '.join(p.name for p in alike[:4])} "
                f"in {self.folder}; leave one for each picture"
            )
        found = exact or next(iter(alike), None)
        if found is None:
            wanted = (self.folder / inside).with_suffix(".png")
            raise DataError(
                f"the picture {picture} has no mask {wanted}; add it, or leave such pictures "
                f"out: {option('data.skip_broken', True)}"
            )
        if found.suffix.lower() in _JPEG:
            raise DataError(
                f"the mask {found} is a JPEG, which changes class numbers; save masks as PNG"
            )
        return found


def _stripped(stem: str) -> str:
    return _ADDED.sub("", stem) or stem


def read_mask(path: Path, picture: Path) -> NDArray[np.uint8]:
    """Return the class number of each pixel, uint8 [height, width], of the mask of a picture.

    Grey in several channels counts as one, and numbers of 16 bits up to 255 as those of 8.

    Raises:
        DataError: it cannot be read, has colours or larger numbers, or does not have the aspect of
            its picture.
    """
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image)
        with Image.open(picture) as image:
            height, width = upright_size(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"the mask {path} cannot be read ({error}); write it again") from error
    mask = _one_channel(pixels, path)
    tall, wide = mask.shape
    if abs(wide * height / (tall * width) - 1) > _MOST_ASPECT:
        raise DataError(
            f"the mask {path} is {wide} x {tall} pixels (width x height), and its picture "
            f"{picture.name} {width} x {height}: they do not lie on each other; cut both alike"
        )
    return mask


def _one_channel(pixels: NDArray[np.generic], path: Path) -> NDArray[np.uint8]:
    if pixels.ndim == 3:
        colours = pixels[..., : pixels.shape[2] - (pixels.shape[2] in (2, 4))]  # without alpha
        if (colours != colours[..., :1]).any():
            example = colours[(colours != colours[..., :1]).any(axis=2)][0].tolist()
            raise DataError(
                f"the mask {path} has colours, such as {tuple(example)}; a mask has one channel "
                "whose values are class numbers: give each colour a number, and save it as mode L "
                "or P"
            )
        pixels = colours[..., 0]
    if pixels.dtype.kind not in "bui" or int(pixels.max(initial=0)) > 255:
        raise DataError(
            f"the mask {path} has values of {pixels.dtype} up to {pixels.max()}; class numbers "
            "are 0 to 254, and 255 for pixels that do not count: save it with 8 bits"
        )
    return pixels.astype(np.uint8)

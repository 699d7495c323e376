"""Read a folder of images and masks: `images/name.jpg`, `masks/name.png` (a class per pixel).

Below both there may be `train/`, `val/` and `test/`, or both lie in each of these. Masks are
brought to the size of the pictures in the same way, by the nearest pixel; the borders of
`pad` are 255, which does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.array_rows import renumber, without_rows
from edgekd.data.dataset import Dataset
from edgekd.data.images import open_folder
from edgekd.data.mask_files import MASKS, MaskFinder, find_folders, read_mask
from edgekd.data.pictures import Form, fit
from edgekd.data.targets import read_masks
from edgekd.errors import DataError
from edgekd.progress import Progress
from edgekd.tasks.segmentation import IGNORED
from edgekd.wording import option


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
        DataError: a folder or a mask is missing, or a mask is none.
    """
    pairs = find_folders(folder)
    if not pairs:
        raise DataError(
            f"{folder} has no folders images/ and masks/; segmentation reads images/name.jpg "
            "and masks/name.png, a class number for each pixel. Pictures alone are enough without "
            f"labels: {option('task', 'reference')}"
        )
    root, without = picture_root(pairs)
    pictures = open_folder(
        root,
        size=size,
        way=way,
        labels=None,
        labelled=False,
        leave_out=without,
        skip_broken=skip_broken,
        progress=progress,
    )
    assert pictures.form is not None
    form = replace(pictures.form, interpolation="nearest", pad_value=0)
    masks, inside, broken = _read_all(pictures.files, pairs, form, skip_broken=skip_broken)
    mask = read_masks(masks, str(folder))
    # only now: masks of 0 and 255 are black and white, and the borders of `pad` do not count
    targets: dict[str, NDArray[Any]] = {"mask": np.where(inside, mask, np.uint8(IGNORED))}
    whole = replace(pictures, targets=targets, labels=tuple(labels or ()))
    return _without(whole, np.array(broken, np.int64), root) if broken else whole


def _read_all(
    paths: Sequence[Path], pairs: Sequence[tuple[Path, Path]], form: Form, *, skip_broken: bool
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], list[int]]:
    """Return the masks in the form of the pictures, where they are no border, and which lack."""
    finders = {images: MaskFinder(masks) for images, masks in pairs}
    found = np.zeros((len(paths), form.height, form.width), np.uint8)
    inside, broken = np.ones(found.shape, bool), []
    for i, path in enumerate(paths):
        images = next(p for p in finders if path.is_relative_to(p))
        try:
            mask = read_mask(finders[images].mask_of(path, path.relative_to(images)), path)
        except DataError:
            if not skip_broken:
                raise
            broken.append(i)
        else:
            found[i] = fit(mask[:, :, None], form)[:, :, 0]
            if form.resize == "pad":
                inside[i] = fit(np.ones((*mask.shape, 1), np.uint8), form)[:, :, 0]
    return found, inside, broken


def _without(dataset: Dataset, rows: NDArray[np.int64], root: Path) -> Dataset:
    """Return it without the pictures whose masks cannot be used."""
    if len(rows) == len(dataset):
        raise DataError("none of the pictures has a mask that can be read; give masks as PNG")
    left = set(rows.tolist())
    names = (dataset.files[i].relative_to(root).as_posix() for i in rows.tolist())
    return replace(
        dataset,
        samples=without_rows(dict(dataset.samples), rows),
        targets=without_rows(dict(dataset.targets), rows),
        fixed=renumber(dataset.fixed, rows),
        skipped=(*dataset.skipped, *names),
        known_sha256={},
        files=tuple(file for i, file in enumerate(dataset.files) if i not in left),
    )


def picture_root(pairs: Sequence[tuple[Path, Path]]) -> tuple[Path, frozenset[str]]:
    """Return the folder whose pictures are read, and the folders in it that are left out."""
    if len(pairs) == 1:
        return pairs[0][0], frozenset()
    return pairs[0][0].parent.parent, frozenset(MASKS)


def refuse_masks(folder: Path) -> None:
    """Refuse to take pictures and masks for two classes.

    Raises:
        DataError: these two are the only folders.
    """
    pairs = find_folders(folder)
    if pairs and {p for p in folder.iterdir() if p.is_dir()} == {*pairs[0]}:
        raise DataError(
            f"{folder} has the folders {pairs[0][0].name}/ and {pairs[0][1].name}/, which are "
            f"hardly two classes; set {option('task', 'segmentation')}, or rename the folders"
        )

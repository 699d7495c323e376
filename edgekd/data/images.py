"""Read a folder of images (JPEG, PNG, ...): decode each once into the pixel cache.

With labels: one folder a class, `class/name.jpg`, or `train/class/name.jpg` with
`val|valid|validation/` and `test/` beside `train/`. A folder with fewer than two class folders has
no labels; its images may lie in any folders, also below `train/` and `test/`.

`pictures.py` says how a file becomes pixels, and a bundle contains it: an app does the same. All
pictures become RGB, or grey when every file is grey.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekd.data.arrays import split_name
from edgekd.data.dataset import Dataset
from edgekd.data.pictures import Form, decode, fit
from edgekd.data.pixel_cache import PixelWriter, decoded
from edgekd.data.targets import name_classes
from edgekd.errors import DataError
from edgekd.progress import Progress, Silent
from edgekd.store import digest
from edgekd.wording import option

_HEIC = (".heic", ".heif")
SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jfif", ".jpe", ".mpo", ".jp2", ".png", ".bmp", ".webp", ".avif"),
        *(".gif", ".tif", ".tiff", ".ppm", ".pgm"),
        *_HEIC,  # which Pillow alone does not read: named as broken, not passed over
    }
)
_REVISION = 2  # raised when the same files would give other pixels
_BLOCK = 64
_SIDEWAYS = range(5, 9)  # EXIF orientations that swap height and width
_ORIENTATION = 0x0112
_MOST_PIXELS = 1 << 28  # Pillow's own limit is below the 108 and 200 megapixels of phones
_LARGE_PIXELS = 1 << 25  # such pictures are decoded one at a time: memory
_ONE_AT_A_TIME = Lock()
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, MemoryError,
    struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
"""Pillow plugins raise inconsistent exception types on damaged files."""


class SizesDiffer(DataError):
    """The images differ in size and no size was given to bring them to."""


@dataclass(frozen=True)
class _File:
    path: Path
    name: str
    """Relative to the data set's folder."""
    label: str | None
    """None: there are no labels."""
    split: str | None


def open_folder(
    folder: Path,
    *,
    size: tuple[int, int] | None,
    way: Form | None = None,
    labels: Sequence[str] | None,
    labelled: bool = True,
    leave_out: Set[str] = frozenset(),
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Decode a folder of images, or take them from the cache if no name, size or time changed.

    Args:
        folder: see the module's first lines.
        size: (height, width) in pixels; None keeps the files' own, which must then agree.
        way: how a picture is brought to that size; its own size and channels do not count.
        labels: the class folders in the order wanted.
        labelled: False: folders are not classes.
        leave_out: names of folders, in small letters, that are not looked into.
        skip_broken: leave out files that cannot be decoded, instead of raising.
        progress: reports while files are decoded.

    Raises:
        DataError: no images, a broken file, or files that differ in size with no `size`.
    """
    files = _list(folder, labelled=labelled, leave_out=leave_out)
    found = _open(folder, files, size=size, way=way, skip_broken=skip_broken, progress=progress)
    kept = [file for file in files if file.name not in set(found.skipped)]
    classes = [file.label for file in kept if file.label is not None]
    if not classes:
        return replace(found, fixed=_fixed(kept))
    label, ordered = name_classes(classes, labels)
    return replace(
        found,
        targets={"label": label},
        labels=ordered,
        folders=ordered if labels is None else (),
        fixed=_fixed(kept),
    )


def open_files(
    folder: Path,
    names: Sequence[str],
    *,
    size: tuple[int, int] | None,
    way: Form | None = None,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Decode the images of these names below `folder`, in their order; see `open_folder`."""
    files = [_File(folder / name, name, None, None) for name in names]
    return _open(folder, files, size=size, way=way, skip_broken=skip_broken, progress=progress)


def _open(
    folder: Path,
    files: list[_File],
    *,
    size: tuple[int, int] | None,
    way: Form | None,
    skip_broken: bool,
    progress: Progress | None,
) -> Dataset:
    stats = [(file.name, *_stamp(file.path)) for file in files]
    way = way or Form(height=1, width=1)
    described = asdict(replace(way, height=1, width=1))
    key = digest("folder", _REVISION, str(folder.resolve()), size, described, stats)

    def build(writer: PixelWriter) -> dict[str, object]:
        form, skipped = _decode_all(files, writer, size, way, skip_broken, progress or Silent())
        return {"skipped": skipped, "form": asdict(form)}

    found = decoded(key, build)
    skipped = tuple(found.notes["skipped"])
    if skipped and not skip_broken:
        raise _broken_file(folder / skipped[0], "it was left out before, with skip_broken")
    files = [file for file in files if file.name not in set(skipped)]
    return Dataset(
        "image",
        {"image": found.pixels},
        {},
        skipped=skipped,
        known_sha256={"image": found.sha256},
        form=Form(**found.notes["form"]),
        files=tuple(file.path for file in files),
    )


def probe_size(folder: Path, *, most: int = 256) -> tuple[int, int] | None:
    """Return (height, width) of the first `most` images from their headers; None: they differ."""
    found = set()
    for file in _list(folder, labelled=False, leave_out=frozenset())[:most]:
        try:
            found.add(_probe(file)[:2])
        except _BROKEN:  # that it is broken is said where it is decoded
            continue
    return found.pop() if len(found) == 1 else None


def has_class_folders(folder: Path) -> bool:
    """Whether the images of a folder have labels: the names of folders.

    Raises:
        DataError: there are no images.
    """
    return _list(folder, labelled=True, leave_out=frozenset())[0].label is not None


def _list(folder: Path, *, labelled: bool, leave_out: Set[str]) -> list[_File]:
    """Return every image below `folder`, sorted by name; with labels if there are two classes."""
    inner = [path for path in _folders(folder) if split_name(path.name)]
    if "train" not in {split_name(path.name) for path in inner}:
        inner = []  # a class may well be called "test"
    parts = [(part, split_name(part.name)) for part in inner] or [(folder, None)]
    groups = [(group, split) for part, split in parts for group in _folders(part)]
    files = [
        _File(path, path.relative_to(folder).as_posix(), group.name, split)
        for group, split in groups
        for path in _images_below(group)
    ]
    if labelled and len({file.label for file in files}) > 1:
        return files
    files = [
        _File(path, path.relative_to(folder).as_posix(), None, split)
        for part, split in parts
        for path in _images_below(part)
        if leave_out.isdisjoint(name.lower() for name in path.relative_to(folder).parts[:-1])
    ]
    if not files:
        raise DataError(
            f"{folder} contains no images ({', '.join(sorted(SUFFIXES))}); give a folder with one "
            "folder of images per class (cat/1.jpg, dog/1.jpg), or with images alone, which then "
            "have no labels"
        )
    return files


def _images_below(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    ]


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and time of a file; a link that leads nowhere has none, and is broken."""
    try:
        found = path.stat()
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _fixed(files: list[_File]) -> dict[str, NDArray[np.int64]]:
    splits = np.array([file.split or "" for file in files])
    return {
        str(name): np.flatnonzero(splits == name).astype(np.int64)
        for name in set(splits.tolist()) - {""}
    }


def _decode_all(
    files: list[_File],
    writer: PixelWriter,
    size: tuple[int, int] | None,
    way: Form,
    skip_broken: bool,
    progress: Progress,
) -> tuple[Form, list[str]]:
    """Write every image; return what all became, and the names of the broken ones."""
    skipped: list[str] = []

    def kept(results: Iterator[tuple[_File, object]]) -> Iterator[tuple[_File, object]]:
        for file, result in results:
            if not isinstance(result, BaseException):
                yield file, result
            elif skip_broken:
                skipped.append(file.name)
            else:
                raise _broken_file(file.path, f"{type(result).__name__}: {result}") from result

    with (
        _most_pixels(),
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        progress.track(f"decode {len(files)} images", 2 * len(files)) as tick,
    ):
        heads = list(kept(_each(pool, _probe, files, tick)))
        sizes = [(file, head) for file, head in heads if isinstance(head, tuple)]
        form = _form(sizes, size, way)
        large = {file for file, (height, width, _) in sizes if height * width > _LARGE_PIXELS}

        def read(file: _File) -> NDArray[np.uint8]:
            with _ONE_AT_A_TIME if file in large else nullcontext():
                return fit(decode(file.path, form), form)

        for _, pixels in kept(_each(pool, read, [file for file, _ in heads], tick)):
            assert isinstance(pixels, np.ndarray)
            writer.add(pixels[None])
    if not writer.count:
        raise DataError(f"none of the {len(files)} images could be decoded; check {files[0].path}")
    return form, sorted(skipped)


def _each(
    pool: ThreadPoolExecutor,
    work: Callable[[_File], object],
    files: list[_File],
    tick: Callable[[float], None],
) -> Iterator[tuple[_File, object]]:
    """Yield (file, result or what it raised) in order, few at a time so that memory stays flat."""

    def safe(file: _File) -> object:
        try:
            return work(file)
        except _BROKEN as error:
            return error

    for start in range(0, len(files), _BLOCK):
        block = files[start : start + _BLOCK]
        yield from zip(block, pool.map(safe, block), strict=True)
        tick(len(block))


def _probe(file: _File) -> tuple[int, int, bool]:
    """Return (height, width, is grey) from the header."""
    with Image.open(file.path) as image:
        height, width = upright_size(image)
        return height, width, image.mode in ("1", "L", "LA") or image.mode[0] == "I"


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (height, width) of an open picture once it is turned upright."""
    width, height = image.size
    is_sideways = image.getexif().get(_ORIENTATION) in _SIDEWAYS
    return (width, height) if is_sideways else (height, width)


def _form(
    heads: list[tuple[_File, tuple[int, int, bool]]], size: tuple[int, int] | None, way: Form
) -> Form:
    """Return what all images become: `way` with its size and channels."""
    if not heads:
        raise DataError("none of the images could be opened; check the files")
    way = replace(way, channels=1 if all(grey for _, (_, _, grey) in heads) else 3)
    if size is not None:
        return replace(way, height=size[0], width=size[1])
    first, (height, width, _) = heads[0]
    for file, (other_height, other_width, _) in heads:
        if (other_height, other_width) != (height, width):
            raise SizesDiffer(
                f"the images differ in size: {first.name} is {width} x {height} and {file.name} is "
                f"{other_width} x {other_height} pixels (width x height); give the size to decode "
                f"to, for instance {option('data.size', 224)}"
            )
    return replace(way, height=height, width=width)


@contextmanager
def _most_pixels() -> Iterator[None]:
    """Raise where a picture is larger than any camera's. Process-wide, so not for one thread."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a damaged EXIF, not damaged pixels
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _broken_file(path: Path, reason: str) -> DataError:
    if path.suffix.lower() in _HEIC:
        reason = "Pillow does not read HEIC; convert it to JPEG"
    return DataError(
        f"the image {path} cannot be decoded ({reason}); fix or remove it, or leave broken files "
        f"out: {option('data.skip_broken', True)}"
    )

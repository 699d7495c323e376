"""Read two public file formats of images: IDX (MNIST and similar) and binary CIFAR-10."""

from __future__ import annotations

import gzip
import math
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgekd.data.arrays import MAX_BYTES, Part, dataset_from_parts
from edgekd.data.dataset import Dataset
from edgekd.errors import DataError

CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_IDX_PARTS = {"train": "train", "t10k": "test"}
_RECORD = 1 + 3 * 32 * 32


def is_idx(folder: Path) -> bool:
    """Return whether `folder` has the files of MNIST's layout."""
    return _idx_file(folder, "train-images", 3) is not None


def open_idx(folder: Path, *, labels: Sequence[str] | None) -> Dataset:
    """Read `{train,t10k}-{images-idx3,labels-idx1}-ubyte`, with or without .gz; both are fixed.

    Raises:
        DataError: a file is missing, damaged, or absurdly large.
    """
    parts: dict[str | None, Part] = {}
    for stem, split in _IDX_PARTS.items():
        found = [_idx_file(folder, f"{stem}-images", 3), _idx_file(folder, f"{stem}-labels", 1)]
        if None in found:
            raise DataError(
                f"{folder} lacks {stem}-images-idx3-ubyte or {stem}-labels-idx1-ubyte (or the same "
                "with .gz); MNIST's layout has four files, train and t10k: put all of them there"
            )
        images, numbers = (_read_idx(path) for path in found if path is not None)
        if images.ndim != 3 or numbers.ndim != 1 or len(images) != len(numbers):
            raise DataError(
                f"{folder}: {stem} has images {list(images.shape)} and labels "
                f"{list(numbers.shape)}; [n, height, width] and [n] were expected: take both files "
                "from the same place"
            )
        parts[split] = (images, numbers)
    return dataset_from_parts(parts, labels=labels, where=str(folder))


def open_cifar10(folder: Path, *, labels: Sequence[str] | None) -> Dataset:
    """Read `data_batch_1.bin` to `_5` and `test_batch.bin` of the official archive; test is fixed.

    Raises:
        DataError: a file is missing or is not whole records of 3,073 bytes.
    """
    train = [_read_cifar(folder / f"data_batch_{i}.bin") for i in range(1, 6)]
    images, numbers = (np.concatenate(group) for group in zip(*train, strict=True))
    return dataset_from_parts(
        {"train": (images, numbers), "test": _read_cifar(folder / "test_batch.bin")},
        labels=labels or CIFAR10,
        where=str(folder),
    )


def refuse_pickle(path: Path) -> None:
    """Raise DataError: a pickle can run any code when it is loaded."""
    raise DataError(
        f"{path} is a Python pickle, which can run any code and is never loaded; take the binary "
        "version of CIFAR-10 (folder cifar-10-batches-bin), or save arrays with np.savez"
    )


def _read_cifar(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    size = path.stat().st_size if path.is_file() else 0
    if not size or size % _RECORD:
        got = f"has {size} bytes" if path.is_file() else "is missing"
        raise DataError(
            f"{path} {got}; the binary version of CIFAR-10 has data_batch_1.bin to "
            f"data_batch_5.bin and test_batch.bin of {_RECORD} bytes an image: unpack it again"
        )
    records = np.fromfile(path, np.uint8).reshape(-1, _RECORD)
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, 0].copy()


def _idx_file(folder: Path, stem: str, axes: int) -> Path | None:
    names = (f"{stem}{dot}idx{axes}-ubyte{end}" for dot in "-." for end in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of bytes: two zeros, type 8, the number of axes, each axis in big-endian."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return _idx_array(file, path)
        with path.open("rb") as plain:
            return _idx_array(plain, path)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch it again") from error


def _idx_array(file: BinaryIO | gzip.GzipFile, path: Path) -> NDArray[np.uint8]:
    magic = file.read(4)
    if len(magic) != 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
        raise DataError(
            f"{path} is not an IDX file of bytes (it begins with {magic!r}); fetch it again"
        )
    shape = tuple(np.frombuffer(file.read(4 * magic[3]), ">u4").tolist())
    size = math.prod(shape)
    if len(shape) != magic[3] or size > MAX_BYTES:
        raise DataError(f"{path} claims {list(shape)} values, which is impossible; fetch it again")
    data = file.read(size)
    if len(data) != size:
        raise DataError(
            f"{path} ends after {len(data)} of {size} bytes ({list(shape)}); fetch it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)

"""The cache of decoded pixels: written once, then read as a memmap to save memory."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import pixels_suffix
from edgekd.errors import DataError
from edgekd.store import cache_folder, seal, write_json

_PIXELS, _ABOUT = "pixels.npy", "about.json"
_MOST = 1 << 40  # the number of images until it is known


@dataclass(frozen=True)
class Decoded:
    """uint8 [n, height, width, channels] on disk, its `array_sha256`, the builder's notes."""

    pixels: NDArray[np.uint8]
    sha256: str
    notes: Mapping[str, Any]


class PixelWriter:
    """Appends images to an .npy file and hashes them on the way."""

    def __init__(self, file: BinaryIO) -> None:
        """Write to `file`, from its beginning."""
        self._file = file
        self._sha = hashlib.sha256()
        self._shape: tuple[int, ...] | None = None
        self._body = 0
        self.count = 0

    def add(self, block: NDArray[np.uint8]) -> None:
        """Append uint8 [k, height, width, channels]; the first block decides the size."""
        if self._shape is None:
            self._shape = block.shape[1:]
            self._header(_MOST)
            self._body = self._file.tell()
        assert block.dtype == np.uint8, block.dtype
        assert block.shape[1:] == self._shape, f"{block.shape[1:]} after {self._shape}"
        data = np.ascontiguousarray(block).data
        self._sha.update(data)
        self._file.write(data)
        self.count += len(block)

    def finish(self) -> str:
        """Put the count into the header; return the `array_sha256` of the whole."""
        assert self._shape is not None, "nothing was added"
        self._file.seek(0)
        self._header(self.count)  # numpy pads headers so that the first axis can change in place
        assert self._file.tell() == self._body
        self._sha.update(pixels_suffix(np.dtype(np.uint8), (self.count, *self._shape)))
        return self._sha.hexdigest()

    def _header(self, count: int) -> None:
        shape = (count, *(self._shape or ()))
        np.lib.format.write_array_header_1_0(
            self._file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )


def decoded(key: str, build: Callable[[PixelWriter], Mapping[str, Any]]) -> Decoded:
    """Return what `build` writes, from the cache if `key` (a hash of all it depends on) is there.

    Raises:
        DataError: the cache cannot be written.
    """
    folder = cache_folder() / "decoded" / key[:40]
    if not folder.exists():
        _fill(folder, build)
    about = json.loads((folder / _ABOUT).read_text())
    pixels = np.load(folder / _PIXELS, mmap_mode="r", allow_pickle=False)
    return Decoded(pixels, about["sha256"], about["notes"])


def _fill(folder: Path, build: Callable[[PixelWriter], Mapping[str, Any]]) -> None:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise DataError(
            f"the cache {folder.parent} cannot be written ({error.strerror}); decoded images are "
            "stored there: set EDGEKD_CACHE to a folder with free space"
        ) from error
    try:
        with (partial / _PIXELS).open("wb") as file:
            writer = PixelWriter(file)
            notes = build(writer)
            sha256 = writer.finish()
        write_json(partial / _ABOUT, {"sha256": sha256, "notes": dict(notes)})
        try:
            seal(partial, folder)
        except OSError:
            if not folder.exists():  # else another process was faster, with the same result
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)

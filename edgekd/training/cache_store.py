"""Views of a split on disk: rows of arrays with a checksum for each chunk, written once.

A view is a folder with one .npy file for each array and `about.json`. What is missing, damaged or
of another key is computed again, chunk by chunk, and never read.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.store import seal, write_json

_ABOUT = "about.json"
Rows = Mapping[str, NDArray[Any]]
"""Arrays by name, whose first axis counts samples."""


@dataclass(frozen=True)
class Form:
    """What a view must be like."""

    key: str
    """The hash of all that it depends on but its number."""
    samples: int
    chunk: int
    """Samples of a chunk; the last one may be shorter."""
    arrays: Mapping[str, tuple[str, tuple[int, ...]]]
    """Name -> number type and shape of one sample."""

    @property
    def names(self) -> Sequence[str]:
        """The arrays in the order of their files."""
        return sorted(self.arrays)

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First sample of each chunk, and the first of the next one."""
        starts = range(0, self.samples, self.chunk)
        return [(start, min(start + self.chunk, self.samples)) for start in starts]


class ViewFolder:
    """One view on disk."""

    def __init__(self, folder: Path, form: Form) -> None:
        """Look at `folder`, which need not exist."""
        self.folder, self.form = folder, form

    def read(self) -> tuple[dict[str, NDArray[Any]], frozenset[int]]:
        """Return the arrays and the numbers of the chunks that must be computed again."""
        every = frozenset(range(len(self.form.bounds)))
        try:
            about = json.loads((self.folder / _ABOUT).read_text(encoding="utf8"))
            known = list(about["chunks"])
            arrays = self._open()
        except (OSError, ValueError, KeyError, TypeError):
            return {}, every
        if about.get("key") != self.form.key or len(known) != len(every):
            return {}, every
        bad = {
            i
            for i, (start, stop) in enumerate(self.form.bounds)
            if _digest(cut(arrays, start, stop), self.form.names) != known[i]
        }
        return arrays, frozenset(bad)

    def _open(self) -> dict[str, NDArray[Any]]:
        found = {}
        for i, name in enumerate(self.form.names):
            array = np.load(self.folder / f"{i}.npy", mmap_mode="r", allow_pickle=False)
            number_type, shape = self.form.arrays[name]
            if array.dtype.str != number_type or array.shape != (self.form.samples, *shape):
                raise ValueError(f"{name} has another form")
            found[name] = array
        return found

    def write(self, chunks: Iterable[Rows]) -> None:
        """Write the chunks in order; the whole then takes the place of what is there.

        Plain writes, not a map of memory: a full disk is then an error and not the end of the
        process.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}.", dir=self.folder.parent))
        try:
            with ExitStack() as stack:
                files = [
                    stack.enter_context((partial / f"{i}.npy").open("wb"))
                    for i in range(len(self.form.arrays))
                ]
                for file, name in zip(files, self.form.names, strict=True):
                    number_type, shape = self.form.arrays[name]
                    np.lib.format.write_array_header_1_0(
                        file,
                        {
                            "descr": number_type,
                            "fortran_order": False,
                            "shape": (self.form.samples, *shape),
                        },
                    )
                digests = []
                for rows in chunks:
                    for file, name in zip(files, self.form.names, strict=True):
                        file.write(np.ascontiguousarray(rows[name]).data)
                    digests.append(_digest(rows, self.form.names))
            write_json(partial / _ABOUT, {"key": self.form.key, "chunks": digests})
            if self.folder.exists():
                shutil.rmtree(self.folder)
            seal(partial, self.folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def cut(arrays: Rows, start: int, stop: int) -> dict[str, NDArray[Any]]:
    """Return some rows of all arrays."""
    return {name: array[start:stop] for name, array in arrays.items()}


def _digest(rows: Rows, names: Sequence[str]) -> str:
    sha = hashlib.sha256()
    for name in names:
        sha.update(np.ascontiguousarray(rows[name]).data)
    return sha.hexdigest()


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below a folder; files that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def make_room(keep: Path, *, needed: int, limit: int) -> None:
    """Remove the caches beside `keep` that were not used for the longest time.

    Until they and `needed` bytes are within `limit`. A training that still reads a removed one
    goes on, since its files are open, and computes it again if it is resumed.
    """
    others = [path for path in keep.parent.glob("*") if path.is_dir() and path != keep]
    sized = sorted((path.stat().st_mtime, folder_bytes(path), path) for path in others)
    total = needed + sum(size for _, size, _ in sized)
    for _, size, path in sized:
        if total <= limit:
            return
        shutil.rmtree(path, ignore_errors=True)
        total -= size

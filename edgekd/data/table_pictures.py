"""Tables that name pictures: a column of file names beside labels or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.data.dataset import Dataset
from edgekd.data.images import SUFFIXES, open_files
from edgekd.data.pictures import Form
from edgekd.errors import DataError
from edgekd.progress import Progress
from edgekd.wording import option

_FOLDERS = ("", "images", "imgs", "pictures", "photos", "train")
"""Below the table's folder; the first that has the first picture is meant."""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How pictures are decoded, see `open_folder`."""

    size: tuple[int, int] | None = None
    way: Form | None = None
    progress: Progress | None = None


def find_root(cell: object, table: Path) -> Path | None:
    """Return the folder from which a cell of a table names a picture; None: it names none."""
    name = str(cell).strip()
    if Path(name).suffix.lower() not in SUFFIXES or len(name) > 4096:
        return None
    places = (table.parent / folder for folder in _FOLDERS)
    return next((place for place in places if (place / name).is_file()), None)


def decode_named(
    names: Sequence[str], table: Path, *, skip_broken: bool, decoding: Decoding
) -> tuple[Dataset, list[int]]:
    """Return the pictures that a column of a table names, and the rows that are left.

    Raises:
        DataError: one is missing, or cannot be decoded.
    """
    root = find_root(names[0], table) or table.parent
    rows = [i for i, name in enumerate(names) if (root / name.strip()).is_file()]
    if len(rows) < len(names) and not skip_broken:
        lost = next(i for i in range(len(names)) if i not in set(rows))
        raise DataError(
            f"{table} names the picture {names[lost]!r}, which is not in {root}; add it, or leave "
            f"such rows out: {option('data.skip_broken', True)}"
        )
    pictures = open_files(
        root,
        [names[i].strip() for i in rows],
        size=decoding.size,
        way=decoding.way,
        skip_broken=skip_broken,
        progress=decoding.progress,
    )
    broken = set(pictures.skipped)
    return pictures, [i for i in rows if names[i].strip() not in broken]

"""The identity of a model file: a hash of its bytes and of its external data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekd.benchmarks.feeds import model_files
from edgekd.store import digest, file_sha256

_PROGRAM = ".pt2"


@dataclass(frozen=True)
class Content:
    """A file with its external data: name relative to its folder -> sha256."""

    file: Path
    hashes: tuple[tuple[str, str], ...]  # of the file itself first
    size_bytes: int

    @property
    def key(self) -> str:
        """The sha256 of a lone file; of the list of names and hashes where there is more."""
        (_, first), *data = self.hashes
        return digest(first, sorted(data)) if data else first

    @property
    def name(self) -> str:
        """What the copy is called: no external data can have this name."""
        return f"{self.key}{self.file.suffix}"


def model_content(file: Path) -> Content:
    """Read what identifies a model.

    Raises:
        ModelError: it cannot be read.
    """
    if file.suffix == _PROGRAM:
        return lone_content(file)
    folder = file.resolve().parent
    parts = model_files(file)
    names = ["", *(str(part.relative_to(folder)) for part in parts[1:])]
    hashes = tuple((name, file_sha256(part)) for name, part in zip(names, parts, strict=True))
    return Content(file, hashes, sum(part.stat().st_size for part in parts))


def lone_content(file: Path) -> Content:
    """Read what identifies a file that refers to no other."""
    return Content(file, (("", file_sha256(file)),), file.stat().st_size)

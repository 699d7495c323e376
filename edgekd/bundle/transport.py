"""Recognise changes by transport: files that systems add, line ends, Git LFS pointers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_ADDED = {
    *(".DS_Store", ".localized", "Thumbs.db", "ehthumbs.db", "desktop.ini", ".directory"),
    *("__MACOSX", ".Spotlight-V100", ".Trashes", ".fseventsd", "@eaDir"),
    *(".git", ".gitattributes", ".gitignore", ".cache"),
}
"""Names of files and folders that file managers, git and download tools put into a folder."""
_LFS = b"version https://git-lfs.github.com/spec/"
_LARGEST_TEXT = 64 << 20  # bytes; text files of a bundle are far smaller

COPY_AGAIN = "do not ship this copy; copy the bundle again, or run `edgekd compress` again"
COPY_LINE_ENDS = (
    "the text is complete, only its line ends changed on the way: copy the bundle again as it is "
    "(as one archive, or in git with the line `* -text` in .gitattributes)"
)
REMOVE_EXTRA = "remove what does not belong to the bundle, or copy the bundle into an empty folder"
COPY_CONTENT = "copy the files themselves and not links to them, for example with `cp -rL`"
FETCH_LFS = "git stored only a pointer instead of the content: run `git lfs pull`"
UPDATE = (
    "the files are as they were written, so copying again does not help: compare the versions of "
    "edgekd, the runtime and Pillow with those in manifest.json; do not ship it to this device"
)


@dataclass(frozen=True)
class Fault:
    """A fault of a bundle, and what to do about it."""

    text: str
    advice: str = COPY_AGAIN


def added_by_system(name: str) -> bool:
    """Whether a file (relative, with /) is one that systems add to folders that they show or move.

    AppleDouble files (`._x` beside x) belong to them too.
    """
    parts = PurePosixPath(name).parts
    return any(part in _ADDED or part.startswith("._") for part in parts)


def has_other_line_ends(path: Path, sha256: str) -> bool:
    """Whether a file has this sha256 when its line ends are undone; a lost last one is as good."""
    if path.stat().st_size > _LARGEST_TEXT:
        return False
    data = path.read_bytes()
    return any(hashlib.sha256(text).hexdigest() == sha256 for text in _line_ends(data))


def with_plain_line_ends(data: bytes) -> bytes:
    r"""Return text whose lines end in \n, without a byte order mark."""
    return data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _line_ends(data: bytes) -> Iterator[bytes]:
    r"""Return the same text as other programs write it: with \n or \r\n, the last one or none."""
    plain = with_plain_line_ends(data)
    stripped = plain.rstrip(b"\n")
    for text in (data.replace(b"\r\n", b"\n"), plain, stripped, stripped + b"\n"):
        yield text
        yield text.replace(b"\n", b"\r\n")


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is what Git LFS leaves in its place."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS

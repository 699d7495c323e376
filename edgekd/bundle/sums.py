"""SHA256SUMS: detects every changed, missing and extra file. It is not a signature."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edgekd.bundle.transport import (
    COPY_CONTENT,
    COPY_LINE_ENDS,
    FETCH_LFS,
    REMOVE_EXTRA,
    Fault,
    added_by_system,
    has_other_line_ends,
    is_lfs_pointer,
    with_plain_line_ends,
)
from edgekd.store import file_sha256, write_atomic

SUMS = "SHA256SUMS"
NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*"
"""A file of a bundle: relative, no hidden part, and so no way out of the folder."""
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_LIMIT_BYTES = 1 << 20


def write_sums(folder: Path) -> None:
    """Write SHA256SUMS over all files below `folder`; `sha256sum -c` reads it."""
    found = {name: file_sha256(path) for name, path in _plain_files(folder).items()}
    write_atomic(folder / SUMS, _text(found))


class Sums(NamedTuple):
    """The result of a comparison with SHA256SUMS."""

    hashes: Mapping[str, str]
    """The sha256 of every file of the bundle that is there, SHA256SUMS left out."""
    faults: Sequence[Fault]
    """None means: the files are these, and SHA256SUMS is to the byte what edgekd wrote."""
    added: Sequence[str]
    """Files that a system added; they are passed over."""


def check_sums(folder: Path) -> Sums:
    """Compare a folder with its SHA256SUMS."""
    listed, faults, turned = _read(folder / SUMS)
    files = _plain_files(folder)
    added = [n for n in files if n not in listed and added_by_system(n) and not _odd(files[n])]
    files = {name: path for name, path in files.items() if name not in added}
    found = {name: file_sha256(path) for name, path in files.items() if not _odd(path)}
    faults += [
        Fault(f"{name!r} is not a plain file", COPY_CONTENT)
        for name, path in files.items()
        if _odd(path)
    ]
    faults += [Fault(f"{name!r} is missing") for name in listed if name not in files]
    for name, sha256 in listed.items():
        if found.get(name, sha256) == sha256:
            continue
        if is_lfs_pointer(files[name]):
            faults.append(Fault(f"{name!r} is a pointer of Git LFS", FETCH_LFS))
        elif has_other_line_ends(files[name], sha256):
            turned.append(name)
        else:
            faults.append(Fault(f"{name!r} was changed: its sha256 differs"))
    if turned:
        names = ", ".join(map(repr, turned))
        faults.append(Fault(f"other line ends than edgekd wrote in {names}", COPY_LINE_ENDS))
    faults += [
        Fault(f"{name!r} is not listed in {SUMS}", REMOVE_EXTRA)
        for name in files
        if name not in listed
    ]
    if not faults and (folder / SUMS).read_bytes() != _text(found).encode():
        faults.append(
            Fault(f"{SUMS} was changed: its lines are not in the form that edgekd writes")
        )
    return Sums(found, faults, added)


def _odd(path: Path) -> bool:
    return path.is_symlink() or not path.is_file()


def _plain_files(folder: Path) -> dict[str, Path]:
    """Return everything below `folder` that is not a folder, hidden files and links included."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or not path.is_dir()) and path != folder / SUMS
    }


def _text(found: Mapping[str, str]) -> str:
    return "".join(f"{found[name]}  {name}\n" for name in sorted(found))


def _read(path: Path) -> tuple[dict[str, str], list[Fault], list[str]]:
    """Return what SHA256SUMS lists, its own faults, and itself if its line ends were changed.

    Lines with a fault list nothing.
    """
    if path.is_symlink() or not path.is_file():
        return {}, [Fault(f"{SUMS!r} is missing")], []
    if path.stat().st_size > _LIMIT_BYTES:
        return {}, [Fault(f"{SUMS} is larger than {_LIMIT_BYTES:,} bytes")], []
    data = path.read_bytes()
    plain = with_plain_line_ends(data)
    text = plain.decode("ascii", errors="replace")
    listed: dict[str, str] = {}
    faults = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            faults.append(Fault(f"line {number} of {SUMS} is malformed"))
        elif not re.fullmatch(NAME, match[2]):
            faults.append(
                Fault(f"line {number} of {SUMS} names {match[2]!r}, which a bundle may not contain")
            )
        else:
            listed[match[2]] = match[1]
    return listed, faults, [SUMS] if plain != data else []

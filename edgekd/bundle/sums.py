"""SHA256SUMS: detects every changed, missing and extra file. It is not a signature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

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


def check_sums(folder: Path) -> tuple[Mapping[str, str], list[str]]:
    """Compare a folder with its SHA256SUMS.

    Returns:
        The sha256 of every file that is there, SHA256SUMS left out, and each fault in words. No
        fault means: the files are these, and SHA256SUMS is to the byte what edgekd wrote.
    """
    listed, faults = _read(folder / SUMS)
    files = _plain_files(folder)
    found = {name: file_sha256(path) for name, path in files.items() if not _odd(path)}
    faults += [f"{n!r} is not a plain file" for n, path in files.items() if _odd(path)]
    faults += [f"{name!r} is missing" for name in listed if name not in files]
    faults += [
        f"{name!r} was changed: its sha256 differs"
        for name, sha256 in listed.items()
        if name in found and found[name] != sha256
    ]
    faults += [f"{name!r} is not listed in {SUMS}" for name in files if name not in listed]
    if not faults and (folder / SUMS).read_bytes() != _text(found).encode():
        faults.append(f"{SUMS} was changed: its lines are not in the form that edgekd writes")
    return found, faults


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


def _read(path: Path) -> tuple[dict[str, str], list[str]]:
    """Return what SHA256SUMS lists, and its own faults; lines with a fault list nothing."""
    if path.is_symlink() or not path.is_file():
        return {}, [f"{SUMS!r} is missing"]
    if path.stat().st_size > _LIMIT_BYTES:
        return {}, [f"{SUMS} is larger than {_LIMIT_BYTES:,} bytes"]
    text = path.read_bytes().decode("ascii", errors="replace")
    listed: dict[str, str] = {}
    faults = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            faults.append(f"line {number} of {SUMS} is malformed")
        elif not re.fullmatch(NAME, match[2]):
            faults.append(
                f"line {number} of {SUMS} names {match[2]!r}, which a bundle may not contain"
            )
        else:
            listed[match[2]] = match[1]
    return listed, faults

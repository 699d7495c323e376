"""Safe writing: atomic files, sealed folders, the lock of a run folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgekd.errors import RunFolderError
from edgekd.wording import option

WINDOWS = os.name == "nt"


def digest(*parts: object) -> str:
    """Return the sha256 of a JSON value, independent of the order of keys."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate(path: str | Path, *, root: Path = Path()) -> Path:
    """Return the path that a user wrote: `~` is the home folder, a relative one counts from `root`.

    A name that begins with `~` and is not a home folder stays as it is.
    """
    return root / os.path.expanduser(path)  # noqa: PTH111  # Path's raises for an unknown home


def sync(path: Path) -> None:
    """Force a file's or a folder's content to the disk, so that a rename after it commits.

    Windows opens no folder, and flushes only what is opened for writing.
    """
    if WINDOWS and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, content: str | bytes | memoryview) -> None:
    """Write `path` whole or not at all: a kill in between leaves the old file."""
    data = content.encode() if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def write_json(path: Path, value: object) -> None:
    """Write `value` as readable JSON, atomically; equal values give equal bytes."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def seal(partial: Path, done: Path) -> None:
    """Sync every file below `partial`, then rename it to `done`: the rename is the commit."""
    for path in sorted(partial.rglob("*")):
        sync(path)
    sync(partial)
    partial.rename(done)
    sync(done.parent)


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield an empty sibling of `folder` to fill; it takes `folder`'s place when all went well."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        seal(partial, folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Lock `folder` for this process; the system frees it when the process ends, however it ends.

    A folder that was not there and to which nothing was written is removed again.

    Raises:
        RunFolderError: it cannot be written, or another process works there.
    """
    from filelock import FileLock, Timeout

    new = [path for path in (folder, *folder.parents) if not path.exists()]
    path = folder / ".lock"
    lock = FileLock(path, blocking=False, on_acquired=_write_owner)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise RunFolderError(
            f"another edgekd process (pid {_owner(path)}) is working in {folder}; "
            f"wait for it, stop it, or give another folder with {option('out')}"
        ) from error
    except OSError as error:
        raise RunFolderError(
            f"the run folder {folder} cannot be written ({error.strerror}); "
            f"give another one with {option('out')}"
        ) from error
    try:
        yield
    finally:
        empty = [entry.name for entry in folder.iterdir()] == [path.name]
        if new and empty:
            with contextlib.suppress(OSError):  # Windows removes it itself when it is released
                path.unlink()
        lock.release()
        if new and empty:
            with contextlib.suppress(OSError):  # somebody else put something there
                for made in new:
                    made.rmdir()


# Windows locks the first byte, and no other process can read it: the process id comes after it.
_OWNER_AT, _OWNER_BYTES = 1, 20


def _write_owner(handle: int) -> None:
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, b" " * _OWNER_AT + str(os.getpid()).ljust(_OWNER_BYTES).encode())


def _owner(path: Path) -> str:
    """Return the process id in a lock file."""
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        file.seek(_OWNER_AT)
        return file.read(_OWNER_BYTES).decode(errors="replace").strip() or "unknown"
    return "unknown"


def cache_folder() -> Path:
    """Return the folder for downloads and decoded data: $EDGEKD_CACHE, or the user's cache."""
    base = os.environ.get("EDGEKD_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekd"

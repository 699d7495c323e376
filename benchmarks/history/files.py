"""Copies of the timed files, next to the history and named by content: equal files are kept once.

A copy is a folder: the model under a name made of its content, its external data under the names
that the model calls them by.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from edgekd.benchmarks.model_content import Content
from edgekd.errors import HistoryError
from edgekd.store import file_sha256, seal

MOST_BYTES = 500_000_000
"""A model larger than this with its data is not copied; its hash alone is stored."""


def keep(content: Content, store: Path) -> None:
    """Copy a file with its data into `store`, whole or not at all.

    Raises:
        HistoryError: it changed while it was copied.
    """
    done = store / content.key
    if done.is_dir():
        return
    store.mkdir(exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".", suffix=".partial", dir=store))
    try:
        folder = content.file.resolve().parent
        for name, sha256 in content.hashes:
            target = partial / (name or content.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name if name else content.file, target)
            if file_sha256(target) != sha256:
                raise HistoryError(
                    f"{content.file} changed while it was stored; time it again, and do not "
                    "change it meanwhile"
                )
        try:
            seal(partial, done)
        except OSError:
            if not done.is_dir():  # else another process has stored the same content
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def kept(key: str, store: Path) -> Path:
    """Return the copy with this key, checked against it.

    Raises:
        HistoryError: it is gone or damaged.
    """
    found = sorted((store / key).glob(f"{key}.*")) or sorted((store / key).glob(key))
    if not found:
        raise HistoryError(
            f"the history's copy of the baseline, {store / key}, is missing; copy that folder "
            "beside the history again, or store the baseline again"
        )
    if _key(found[0]) != key:
        raise HistoryError(
            f"the history's copy of the baseline, {found[0]}, was changed after it was stored; "
            "remove that folder and store the baseline again"
        )
    return found[0]


def _key(copy: Path) -> str:
    """Hash a copy without a look inside it: damaged files cannot be parsed."""
    data = [path for path in sorted(copy.parent.rglob("*")) if path.is_file() and path != copy]
    names = ((str(path.relative_to(copy.parent)), path) for path in data)
    hashes = [("", file_sha256(copy)), *((name, file_sha256(path)) for name, path in names)]
    return Content(copy, tuple(hashes), 0).key

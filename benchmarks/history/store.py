"""Store sessions over time in one SQLite file, with copies of the timed files next to it.

    history = History(Path("edgekd-history.sqlite"))
    history.store(bench(["model.onnx"], device=device), name="main")
    history.latest("main")

The models are kept because a stored time is not a reference on a shared machine: the file is timed
again, side by side with what it is compared with (`edgekd.benchmarks.history.baseline`).
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.benchmarks.history.database import opened
from edgekd.benchmarks.history.entry import (
    ENTRY_COLUMNS,
    ROW_COLUMNS,
    Entry,
    row_cells,
    stored_row,
)
from edgekd.benchmarks.history.files import MOST_BYTES, keep, kept
from edgekd.benchmarks.measurement import Session
from edgekd.benchmarks.model_content import Content, lone_content, model_content
from edgekd.benchmarks.result import BenchResult
from edgekd.errors import HistoryError

LONGEST_NAME = 100  # characters


@dataclass(frozen=True)
class History:
    """A history in one SQLite file; the copies lie in a folder beside it.

    Real feeds are copied as well: keep them out of a history that others may read if they may not
    see them.
    """

    path: Path
    most_bytes: int = MOST_BYTES  # of a copied model with its data, or of copied feeds

    @property
    def files(self) -> Path:
        """The folder of the copies."""
        return self.path.with_name(f"{self.path.stem}.files")

    def store(self, result: BenchResult, *, name: str) -> int:
        """Store a session with copies of its files; return the number of its entry.

        Args:
            result: what `edgekd.benchmarks.bench.bench` returned; its files lie where they were.
            name: the name to find it by, such as the name of a branch.

        Raises:
            HistoryError: the history cannot be written, a file changed since it was measured, or
                the name is empty, longer than 100 characters or not printable.
        """
        if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise HistoryError(
                f"a session cannot be stored as {name!r:.120}; give a name of 1 to {LONGEST_NAME} "
                "printable characters, such as main"
            )
        with opened(self.path, write=True):
            pass  # refuse a foreign file before anything is copied
        contents = {file: self._kept(file) for file in {row.file for row in result.rows}}
        feeds = None if result.feeds == "random" else Path(result.feeds)
        feeds_sha256 = feeds and self._feeds(feeds)
        document = zlib.compress(json.dumps(result.to_json()).encode())
        stored_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        facts = (
            *(name, stored_at, _version(), result.session.timing.rate_hz),
            *(feeds.name if feeds else "random", feeds_sha256, document),
        )
        rows = [
            row_cells(row, *contents[row.file], measured.file_sha256)
            for row, measured in zip(result.rows, result.session.measurements, strict=True)
        ]
        with opened(self.path, write=True) as connection:
            columns = ", ".join((*ENTRY_COLUMNS[1:], "result"))
            entry = connection.execute(
                f"INSERT INTO sessions ({columns}) VALUES ({_marks(len(facts))})", facts
            ).lastrowid
            assert entry is not None
            connection.executemany(
                f"INSERT INTO rows (session, position, {', '.join(ROW_COLUMNS)}) "
                f"VALUES ({_marks(len(ROW_COLUMNS) + 2)})",
                [(entry, position, *cells) for position, cells in enumerate(rows)],
            )
        return entry

    def entries(self, name: str | None = None) -> tuple[Entry, ...]:
        """Return the stored sessions of a name, or all, the oldest first.

        Raises:
            HistoryError: the history cannot be read.
        """
        with opened(self.path) as connection:
            return tuple(self._entries(connection, name))

    def latest(self, name: str) -> Entry:
        """Return the session that was stored last under a name.

        Raises:
            HistoryError: the history cannot be read, or lacks the name; the message lists those
                known.
        """
        found = self.entries(name)
        if not found:
            known = ", ".join(sorted({entry.name for entry in self.entries()})) or "none"
            raise HistoryError(
                f"the history {self.path} contains no session {name!r}; it contains: {known}. "
                "Store one "
                f"first: edgekd bench MODEL --store {name}"
            )
        return found[-1]

    def document(self, entry: int) -> dict[str, Any]:
        """Return everything of a session, as `BenchResult.to_json` wrote it.

        Raises:
            HistoryError: the entry is missing or damaged.
        """
        with opened(self.path) as connection:
            query = "SELECT result FROM sessions WHERE id = ?"
            found = connection.execute(query, (entry,)).fetchone()
        if found is None:
            raise HistoryError(f"the history {self.path} contains no session number {entry}")
        try:
            document: dict[str, Any] = json.loads(zlib.decompress(found[0]))
        except (zlib.error, ValueError, TypeError) as error:
            raise self._damaged(entry, error) from error
        return document

    def session(self, entry: int) -> Session:
        """Return a session with its raw seconds, exactly as it was stored; raises as `document`."""
        document = self.document(entry)
        try:
            return Session.from_json(document["session"])
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(entry, error) from error

    def copy(self, content: str) -> Path:
        """Return the kept copy of a file by its `StoredRow.content` or `Entry.feeds_sha256`.

        Raises:
            HistoryError: it is gone or damaged.
        """
        return kept(content, self.files)

    def _kept(self, file: Path) -> tuple[Content, str]:
        """Copy a model if it is not too large; return its content and why it was not copied."""
        content = model_content(file)
        if content.size_bytes > self.most_bytes:
            return content, f"larger than {self.most_bytes / 1e6:g} MB"
        keep(content, self.files)
        return content, ""

    def _feeds(self, file: Path) -> str | None:
        content = lone_content(file)
        if content.size_bytes > self.most_bytes:
            return None
        keep(content, self.files)
        return content.key

    def _entries(self, connection: sqlite3.Connection, name: str | None) -> Iterator[Entry]:
        where, names = ("", ()) if name is None else ("WHERE name = ?", (name,))
        query = f"SELECT {', '.join(ENTRY_COLUMNS)} FROM sessions {where} ORDER BY id"
        for facts in connection.execute(query, names).fetchall():
            rows = connection.execute(
                f"SELECT {', '.join(ROW_COLUMNS)} FROM rows WHERE session = ? ORDER BY position",
                facts[:1],
            )
            try:
                known = dict(zip(ENTRY_COLUMNS, facts, strict=True))
                known["stored_at"] = datetime.datetime.fromisoformat(known["stored_at"])
                yield Entry(**known, rows=tuple(stored_row(cells) for cells in rows))
            except (KeyError, TypeError, ValueError) as error:
                raise self._damaged(facts[0], error) from error

    def _damaged(self, entry: int, error: Exception) -> HistoryError:
        return HistoryError(
            f"session {entry} of the history {self.path} is damaged ({error}); restore the file "
            "from a copy, or give another one with --history"
        )


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _version() -> str:
    try:
        return importlib.metadata.version("edgekd")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"

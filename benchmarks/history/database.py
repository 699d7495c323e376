"""The SQLite file of a history: open it, check it, lock it for writing.

Every use is one transaction on its own connection, so a killed process leaves the old state and
two writers wait for each other. No write-ahead log: the history stays one file that can be copied.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edgekd.errors import HistoryError

APPLICATION_ID = (
    0x65646B64  # "edkd", in the header of the file: distinguishes it from another program's
)
SCHEMA = 1  # raised when a table changes; an older edgekd then refuses the file
TIMEOUT_S = 30.0  # for another writer, who needs milliseconds

_TABLES = (
    """
    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        stored_at TEXT NOT NULL,     -- ISO 8601, UTC
        edgekd TEXT NOT NULL,        -- version
        rate_hz REAL,                -- NULL: closed loop
        feeds TEXT NOT NULL,         -- "random", or the name of the file
        feeds_sha256 TEXT,           -- of the copy that is kept; NULL: none
        result BLOB NOT NULL         -- BenchResult.to_json(), raw seconds included, zlib
    )
    """,
    """
    CREATE TABLE rows (
        session INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,   -- in the session; 0 is its reference
        file TEXT NOT NULL,          -- name without folder
        file_sha256 TEXT NOT NULL,   -- of the model file itself, as it was measured
        content TEXT NOT NULL,       -- of the model with its external data
        not_kept TEXT NOT NULL,      -- why there is no copy; '' if there is one
        label TEXT NOT NULL,
        conditions TEXT NOT NULL,    -- JSON, the setup included
        batch INTEGER NOT NULL,
        inputs TEXT NOT NULL,        -- JSON, name -> type and shape
        size_bytes INTEGER NOT NULL,
        median_s REAL NOT NULL,
        low_s REAL NOT NULL,
        high_s REAL NOT NULL,
        processes INTEGER NOT NULL,
        steady INTEGER NOT NULL,
        verdict TEXT NOT NULL,
        PRIMARY KEY (session, position)
    )
    """,
    "CREATE INDEX sessions_by_name ON sessions (name, id)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA}",
)


@contextlib.contextmanager
def opened(
    path: Path, *, write: bool = False, timeout_s: float = TIMEOUT_S
) -> Iterator[sqlite3.Connection]:
    """Open a history for one transaction; what is written counts when the block ends well.

    Args:
        path: of the SQLite file.
        write: it is locked, and created if it is not there.
        timeout_s: how long to wait for another writer.

    Raises:
        HistoryError: it is not there, no history, damaged, of a newer edgekd, or held by another.
    """
    try:
        connection = _connected(path, write=write, timeout_s=timeout_s)
        with contextlib.closing(connection):
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            _checked(connection, path, create=write)
            yield connection
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise HistoryError(_explained(path, error)) from error


def _connected(path: Path, *, write: bool, timeout_s: float) -> sqlite3.Connection:
    if not path.is_file() and not write:
        raise HistoryError(
            f"there is no history {path}; store a session first "
            "(edgekd bench MODEL --store NAME), or give another file with --history"
        )
    if not path.parent.is_dir():
        raise HistoryError(
            f"the history {path} cannot be written: there is no folder {path.parent}; "
            "make it, or give another file with --history"
        )
    # "rw" reads a write-protected file too, and cleans up what a killed writer left.
    mode = "rwc" if write else "rw"
    address = f"{path.resolve().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=timeout_s, isolation_level=None)


def _checked(connection: sqlite3.Connection, path: Path, *, create: bool) -> None:
    """Refuse what is not a history of this edgekd; an empty file becomes one."""
    application, schema, tables = (
        connection.execute(query).fetchone()[0]
        for query in (
            "PRAGMA application_id",
            "PRAGMA user_version",
            "SELECT count(*) FROM sqlite_master",
        )
    )
    if (application, schema, tables) == (0, 0, 0) and create:
        for statement in _TABLES:
            connection.execute(statement)
        return
    if application != APPLICATION_ID:
        raise HistoryError(
            f"{path} is an SQLite file, but not an edgekd history; it was not changed: "
            "give another file with --history"
        )
    if schema != SCHEMA:
        raise HistoryError(
            f"the history {path} has schema {schema}, and this edgekd reads {SCHEMA}; "
            "use the edgekd that wrote it, or give another file with --history"
        )


def _explained(path: Path, error: sqlite3.Error) -> str:
    code = getattr(error, "sqlite_errorname", "")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"another process has locked the history {path}; try again when it is done"
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return (
            f"{path} is not an edgekd history, or is damaged ({error}); "
            "restore it from a copy, or give another file with --history"
        )
    return (
        f"the history {path} cannot be used ({error}); check its permissions and the free space, "
        "or give another file with --history"
    )

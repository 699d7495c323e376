"""A stored session without its raw times."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekd.benchmarks.measurement import Conditions
from edgekd.benchmarks.model_content import Content
from edgekd.benchmarks.result import Row
from edgekd.benchmarks.stats import Estimate
from edgekd.errors import HistoryError

ENTRY_COLUMNS = ("id", "name", "stored_at", "edgekd", "rate_hz", "feeds", "feeds_sha256")
ROW_COLUMNS = (
    *("file", "file_sha256", "content", "not_kept", "label", "conditions", "batch", "inputs"),
    *("size_bytes", "median_s", "low_s", "high_s", "processes", "steady", "verdict"),
)


@dataclass(frozen=True, kw_only=True)
class StoredRow:
    """One file in one setup of a stored session, for listing and for finding its counterpart."""

    file: str  # its name, without the folder
    file_sha256: str  # of the file itself, as it was measured
    content: str  # of the file with its external data; the key of the copy
    not_kept: str  # why the history has no copy; "" if it has one
    label: str
    conditions: Conditions
    batch: int
    inputs: Mapping[str, str]
    size_bytes: int
    latency_s: Estimate
    steady: bool  # and not throttled
    verdict: str  # inside its session; "" for the reference


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One stored session."""

    id: int
    name: str
    stored_at: datetime.datetime  # UTC
    edgekd: str  # version
    rate_hz: float | None
    feeds: str  # "random", or the name of the file
    feeds_sha256: str | None  # of the copy that is kept
    rows: tuple[StoredRow, ...]


def row_cells(row: Row, content: Content, not_kept: str, file_sha256: str) -> tuple[object, ...]:
    """Return the values of `ROW_COLUMNS`."""
    if content.hashes[0][1] != file_sha256:
        raise HistoryError(
            f"{row.file} changed since it was timed, so the times belong to another file; time it "
            "again, and do not change it meanwhile"
        )
    state = row.steadiness
    return (
        *(row.file.name, file_sha256, content.key, not_kept, row.label),
        *(json.dumps(row.conditions.to_json()), row.batch, json.dumps(dict(row.inputs))),
        *(row.size_bytes, row.latency_s.value, row.latency_s.low, row.latency_s.high),
        *(row.latency_s.n, int(state.steady and not state.throttled), row.verdict),
    )


def stored_row(cells: tuple[Any, ...]) -> StoredRow:
    """Return the row back; raises KeyError, TypeError or ValueError where it is damaged."""
    known = dict(zip(ROW_COLUMNS, cells, strict=True))
    estimate = Estimate(*(known.pop(c) for c in ("median_s", "low_s", "high_s", "processes")))
    parsed = {
        "conditions": Conditions.from_json(json.loads(known["conditions"])),
        "inputs": json.loads(known["inputs"]),
        "steady": bool(known["steady"]),
    }
    return StoredRow(**{**known, **parsed}, latency_s=estimate)

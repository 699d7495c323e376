"""Pages of several sessions: a suite, or a comparison with a stored baseline.

Like the page of one session they name no device and no path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from edgekd.benchmarks.history.comparison import BaselineResult
from edgekd.benchmarks.history.table import baseline_cells, baseline_notes, limit_cells
from edgekd.benchmarks.result import BenchResult
from edgekd.benchmarks.suites.result import COLUMNS, SuiteResult
from edgekd.evaluation.privacy import without_paths
from edgekd.report.bench.page import Overview, content, page, session
from edgekd.store import write_atomic


def write_suite(result: SuiteResult, path: Path) -> None:
    """Write the page of a suite, whole or not at all: its table, then every model's session.

    Args:
        result: of `edgekd.benchmarks.suites.run.run_suite`.
        path: of the page; what was there is replaced.
    """
    count = len(result.models)
    overview = Overview(
        result.title,
        f"suite of {count} model{'' if count == 1 else 's'}",
        (without_paths(result.head(named=False).removeprefix(f"{result.title}. ")),),
        COLUMNS,
        2,
        _without_paths(result.cells()),
        tuple(map(without_paths, result.notes())),
    )
    _write(path, overview, [(model.name, model.result) for model in result.models])


def write_baseline(result: BaselineResult, path: Path) -> None:
    """Write the page of a comparison with a baseline, whole or not at all.

    Args:
        result: of `edgekd.benchmarks.history.baseline.against`.
        path: of the page; what was there is replaced.
    """
    baseline = result.baseline
    overview = Overview(
        _title(result),
        "against a baseline",
        (f"Stored {baseline.stored_at:%Y-%m-%d %H:%M} UTC.",),
        ("file", "against", "baseline, ms", "now, ms", "speed-up", "verdict"),
        2,
        _without_paths([*map(baseline_cells, result.rows), *map(limit_cells, result.limits)]),
        tuple(map(without_paths, baseline_notes(result, named=False))),
    )
    count = len(result.sessions)
    named = [(f"Session {n} of {count}", one) for n, one in enumerate(result.sessions, 1)]
    _write(path, overview, named)


def _title(result: BaselineResult) -> str:
    """Return what was found, in the order of the exit codes: worse, could not tell, passed."""
    name = result.baseline.name
    slower = sum(row.verdict == "slower" for row in result.rows)
    broken = [limit.what for limit in result.limits if limit.verdict == "failed"]
    if slower:
        beside = f"; also worse: {', '.join(broken)}" if broken else ""
        return f"{slower} of {len(result.rows)} proven slower than {name}{beside}"
    if broken:
        return f"Worse than {name}: {', '.join(broken)}"
    if result.untold:
        return f"Could not tell whether it is worse than {name}"
    return f"Nothing is proven slower than {name}"


def _without_paths(rows: Iterable[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(map(without_paths, row)) for row in rows)


def _write(path: Path, overview: Overview, sessions: Sequence[tuple[str, BenchResult]]) -> None:
    record = {
        "overview": asdict(overview),
        "sessions": [
            {"name": name, **content(one, sessions=len(sessions))} for name, one in sessions
        ],
    }
    shown = [(name, session(one)) for name, one in sessions]
    write_atomic(path, page(overview.title, shown, record, overview=overview))

"""Tables of a history: the stored sessions, one name over time, a comparison with a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekd.benchmarks.formatting import megabytes, milliseconds, times
from edgekd.benchmarks.history.across import LEAST_SESSIONS, differences
from edgekd.benchmarks.stats import Estimate

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from edgekd.benchmarks.history.comparison import BaselineResult, Comparison
    from edgekd.benchmarks.history.entry import Entry, StoredRow
    from edgekd.benchmarks.history.guard import Limit

_STYLES = {"slower": "red", "failed": "red", "faster": "green", "passed": "green"}


def list_table(entries: Sequence[Entry]) -> Table:
    """List sessions of any names, a line per file and setup."""
    table = _table("what is stored", "name", "stored (UTC)", "file", "MB", "median ms [95 %]", "")
    for entry in entries:
        for position, row in enumerate(entry.rows):
            table.add_row(
                _plain("" if position else entry.name),
                "" if position else f"{entry.stored_at:%Y-%m-%d %H:%M}",
                _plain(row.label),
                megabytes(row.size_bytes).removesuffix(" MB"),
                _plain(_milliseconds(row.latency_s)),
                "" if row.steady else "no steady state",
            )
    if not entries:
        table.caption = "nothing is stored"
    return table


def trend_table(entries: Sequence[Entry]) -> Table:
    """Show the sessions of one name over time, a block of lines per file and setup.

    Args:
        entries: of one name, the oldest first (`History.entries`).
    """
    titles = ("file", "stored (UTC)", "median ms [95 %]", "since the first", "what changed")
    table = _table(f"{entries[0].name} over time" if entries else "over time", *titles)
    lines: dict[str, list[tuple[Entry, StoredRow]]] = {}
    for entry in entries:
        for row in entry.rows:
            lines.setdefault(row.label, []).append((entry, row))
    for label, points in lines.items():
        _, origin = points[0]
        last = origin
        for position, (entry, row) in enumerate(points):
            ratio = row.latency_s.value / origin.latency_s.value
            table.add_row(
                _plain("" if position else label),
                f"{entry.stored_at:%Y-%m-%d %H:%M}",
                _plain(_milliseconds(row.latency_s)),
                f"{100 * (ratio - 1):+.1f} %" if position else "",
                _plain("; ".join(_changes(last, row))),
            )
            last = row
        table.add_section()
    table.caption = (
        "these are separate sessions: on a shared machine they differ by several per cent even if "
        "nothing changed; only --baseline, which times both files side by side, proves a difference"
    )
    return table


def baseline_table(result: BaselineResult, *, verbose: bool = True) -> Table:
    """Show a comparison with a stored baseline; `verbose` also says how it was made."""
    baseline = result.baseline
    table = _table(
        f"against {baseline.name}, stored {baseline.stored_at:%Y-%m-%d %H:%M} UTC",
        *("file", "against", "baseline\nms [95 %]", "now\nms [95 %]", "speed-up\n[95 %]"),
        "verdict",
    )
    for row in [*map(baseline_cells, result.rows), *map(limit_cells, result.limits)]:
        *cells, verdict = row
        table.add_row(*map(_plain, cells), f"[{_STYLES.get(verdict, 'default')}]{verdict}[/]")
    table.caption = _plain("\n".join(baseline_notes(result, verbose=verbose)))
    return table


def limit_cells(limit: Limit) -> tuple[str, ...]:
    """Return file, what is limited, its value then and now, what is allowed, and the verdict."""
    return (limit.label, limit.what, limit.before, limit.now, limit.allowed, limit.verdict)


def baseline_cells(row: Comparison) -> tuple[str, ...]:
    """Return file, stored file, milliseconds then and today, speed-up and verdict as text."""
    speedup = "" if row.speedup is None else times(row.speedup)
    return (
        row.label,
        row.stored,
        _milliseconds(row.before_s),
        _milliseconds(row.now_s),
        speedup,
        row.verdict,
    )


def baseline_notes(
    result: BaselineResult, *, named: bool = True, verbose: bool = True
) -> list[str]:
    """Say where and how files were compared, and what must be known of single rows.

    Args:
        result: of a comparison.
        named: with the device's name.
        verbose: with how it was made.
    """
    methods = {row.method for row in result.rows}
    lines = []
    if result.sessions:
        c = result.sessions[-1].rows[0].conditions
        device = f"{c.device}: " if named else ""
        lines.append(f"{device}{c.cpu}, {c.runtime}, {c.provider}")
    if "side by side" in methods and verbose:
        lines.append(
            "the stored file was timed again, interleaved with the new one; a slow-down counts if "
            "two sessions of at most three prove it"
        )
        floors = ", ".join(f"{100 * session.floor:.1f} %" for session in result.sessions)
        lines.append(f"A/A floor of each session, added to its interval: {floors}")
    if "across sessions" in methods:
        lines.append(
            "across sessions: today's session against the range expected for it if nothing changed "
            f"(95 % prediction interval over the stored ones, {LEAST_SESSIONS} at least)"
        )
    reasons = [f"{row.label}: {row.reason}" for row in result.rows if row.reason]
    return [*lines, *reasons, *result.notes]


def _changes(last: StoredRow, row: StoredRow) -> list[str]:
    words = [] if last.content == row.content else ["the file"]
    if last.conditions.machine != row.conditions.machine:
        words.append("the machine")
    words += differences(last.conditions, row.conditions)
    return words if row.steady else [*words, "no steady state"]


def _milliseconds(estimate: Estimate | None) -> str:
    return "not measured" if estimate is None else milliseconds(estimate).replace(" ms", "")


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=_plain(title), title_justify="left", box=box.SIMPLE_HEAD, caption_justify="left"
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _plain(text: str) -> Text:
    """Return text without markup or control characters: names come from untrusted files."""
    from rich.text import Text

    return Text("".join(c if c.isprintable() or c == "\n" else "?" for c in text))

"""Several runs side by side, as a table in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgekd.evaluation.formatting import change, latency_text, quality, size, times
from edgekd.evaluation.record import Record
from edgekd.report.run.spent import duration

CAPTION = (
    "Each run is a session of its own, so latencies of different runs differ by several per cent "
    "even if nothing changed. To compare two files, time them together: edgekd bench NEW --vs OLD"
)
TITLES = ("run", "ships", "size", "latency", "against its teacher", "test", "change", "time")


def side_by_side(runs: Sequence[tuple[Path, Record]]) -> Table:
    """Return a row for each run: what ships, how large and fast it is, and its quality."""
    table = Table(box=SIMPLE_HEAD, caption=CAPTION, caption_justify="left")
    for title in TITLES:
        table.add_column(title, overflow="fold")
    for folder, record in runs:
        table.add_row(*map(Text, cells(folder.name, record)))
    return table


def cells(name: str, record: Record) -> tuple[str, ...]:
    """Return the row of a run as text."""
    ships, metric = record.ships, record.metric
    alone = record.is_against_teacher and record.teacher_ships
    tested = None if alone else record.tested(ships)
    spent_s = sum(part.seconds for part in record.spent)
    return (
        name,
        f"{ships.title} {ships.label}" + (" (quick look)" if record.quick else ""),
        size(ships.size_bytes),
        latency_text(ships.latency_s),
        times(ships.speedup) if ships.speedup else "",
        "" if tested is None else f"{metric.name} {quality(tested.metrics[metric.name])}",
        "" if tested is None or record.is_against_teacher else change(tested.gain),
        duration(spent_s) if spent_s else "",
    )

"""The ladder as a table in a terminal, from the record alone."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgekd.evaluation.formatting import interval, latency_text, size
from edgekd.evaluation.results import Record, RungRecord


def cells(rung: RungRecord, metric: str) -> tuple[str, str, str, str]:
    """Return a stage's own file, its quality, size and latency."""
    own = rung.own
    if own is None:
        return rung.title, "", "", ""
    return (
        f"{rung.title} {own.label}",
        interval(own.metrics[metric]),
        size(own.facts.size_bytes),
        latency_text(own.latency_s),
    )


def ladder(record: Record) -> Table:
    """Return the ladder of stages; a stage that did not pay stays in it, struck through."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    table.add_column(record.metric.title, no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("latency", no_wrap=True)
    table.add_column("against before", no_wrap=True)
    for rung in record.rungs:
        style = "" if rung.kept else "strike dim"
        texts = (Text(cell, style=style) for cell in cells(rung, record.metric.name))
        table.add_row(*texts, _verdict(rung, first=rung is record.rungs[0]))
    return table


def _verdict(rung: RungRecord, *, first: bool) -> Text:
    if first:
        return Text("reference")
    if rung.evidence is None or not rung.kept:  # why stands below the table
        return Text(rung.outcome, style="red" if rung.evidence else "yellow")
    speed = rung.evidence.findings.speedup
    against = "" if speed is None else f"{speed.value:.2f}x "
    return Text.assemble(against, ("kept", "green"))


def outcome(record: Record) -> list[str]:
    """Return the closing lines: what did not pay, what ships, the test split, the budget."""
    ships, metric = record.ships, record.metric
    lines = [f"{r.title} {r.outcome}: {r.verdict}" for r in record.rungs if r.reasons]
    speed = interval(ships.speedup, of="{:.2f}".format)
    faster = f", {speed} times faster than the teacher" if ships.speedup else ""
    lines.append(
        f"ships {ships.title} ({ships.variant}): {size(ships.size_bytes)}, "
        f"{latency_text(ships.latency_s)}{faster}"
    )
    tested = record.tested(ships)
    if tested is not None:
        gain = interval(tested.gain, of="{:+.2f}".format)
        lines.append(
            f"test split, once ({record.test.samples} samples): "
            f"{interval(tested.metrics[metric.name])} {metric.unit}, {gain} since the teacher"
        )
    if record.over_budget:
        lines.append(f"✗ budget: {record.over_budget}")
    return lines

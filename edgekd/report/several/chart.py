"""Quality against latency of several runs, a colour for each."""

from __future__ import annotations

from collections.abc import Mapping

from edgekd.evaluation.record import Record
from edgekd.report.charts.plots import Point, Scatter
from edgekd.report.charts.svg import both_widths

COLOURS = 6
"""Of the style sheet; more runs begin again with the first."""
_LONGEST = 18
"""Letters of a name in the chart."""


def colour(number: int) -> str:
    """Return the class of the style sheet for the run of this number."""
    return f"run-{number % COLOURS}"


def kept_files(runs: Mapping[int, tuple[str, Record]]) -> str | None:
    """Return the kept files of runs as points with 95 % bars; None where none was timed.

    Args:
        runs: number of the run, for its colour, and its name and record. They must share the
            metric, the samples and the machine: a chart has one axis of each.
    """
    points = [
        point for number, (name, record) in runs.items() for point in _points(number, name, record)
    ]
    if not points:
        return None
    metric = next(iter(runs.values()))[1].metric
    title = f"validation {metric.title}"
    return both_widths(lambda width: Scatter(points, title, None, None, width).draw())


def _points(number: int, name: str, record: Record) -> list[Point]:
    found = []
    for file in record.final.files:
        rung = record.rung_of(file)
        own = next(own for own, _, _ in rung.judged if own.variant == file.variant)
        against_itself = record.is_against_teacher and rung is record.rungs[0]
        if file.latency_s is None or against_itself:
            continue
        ships = file is record.ships
        words = name if ships else f"{name} {file.title} {file.label}"
        shown = words if not ships or len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
        quality = own.metrics[record.metric.name]
        found.append(Point(shown, "kept", ships, quality, file.latency_s, colour(number)))
    return found

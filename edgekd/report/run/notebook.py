"""The result of a run in a notebook or a repr, where there is neither browser nor run folder."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.text import Text

from edgekd.benchmarks.stats import Estimate
from edgekd.errors import MeasureError
from edgekd.evaluation.record import Record
from edgekd.evaluation.results import RungRecord
from edgekd.report.charts.plots import quality_against_latency
from edgekd.report.run.table import Line, ladder, lines, outcome
from edgekd.report.template import style
from edgekd.store import write_atomic


def shown(record: Record) -> Group:
    """Return the ladder and its closing lines, for `rich.print`."""
    return Group(ladder(record), *map(Text, outcome(record)))


def as_plain_text(block: RenderableType) -> str:
    """Return what `rich.print` would show, as plain text."""
    file = io.StringIO()
    Console(file=file, width=140, force_terminal=False, color_system=None).print(block)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip("\n")


def as_text(record: Record) -> str:
    """Return the ladder and its closing lines as plain text."""
    return as_plain_text(shown(record))


def as_html(record: Record) -> str:
    """Return the same as a small HTML table; a stage that did not pay is struck through."""
    titles = ("stage", record.metric.title, "size", "latency", "verdict")
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    rows = "".join(_row(rung, line) for rung in record.rungs for line in lines(record, rung))
    closing = "<br>".join(map(escape, outcome(record)))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p>{closing}</p>"


def as_rows(record: Record) -> list[dict[str, Any]]:
    """Return a row for each file that a stage made, as `Result.rows` describes it."""
    return [
        {
            "stage": rung.title,
            "variant": file.variant,
            "kept": rung.kept and ruling.kept,
            "ships": (rung.title, file.label) == (record.ships.title, record.ships.label),
            "why": ruling.text,
            **_spread(record.metric.name, file.metrics[record.metric.name]),
            **_spread("difference", None if record.is_against_teacher else file.gain),
            "size_bytes": file.facts.size_bytes,
            **_spread("latency_s", file.latency_s),
            **_spread("speedup", file.speedup),
        }
        for rung in record.rungs
        for file, _, ruling in rung.judged
    ]


def _spread(name: str, found: Estimate | None) -> dict[str, float | None]:
    if found is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


@dataclass(frozen=True)
class Plot:
    """A drawing that a notebook shows; `save` writes it as a page."""

    name: str
    page: str = field(repr=False)
    height: int

    def save(self, path: str | Path) -> None:
        """Write it as an HTML file that needs nothing else."""
        write_atomic(Path(path), self.page)

    def _repr_html_(self) -> str:
        # a frame: the page's styles must not reach the notebook's
        frame = f'width="100%" height="{self.height}" style="border:0;max-width:760px"'
        return f'<iframe srcdoc="{escape(self.page)}" {frame}></iframe>'


def as_plot(record: Record) -> Plot:
    """Return quality against latency of every file, with intervals and the budget.

    Raises:
        MeasureError: no latency was measured.
    """
    drawing = quality_against_latency(record)
    if drawing is None:
        raise MeasureError("no latency was measured, so quality cannot be drawn against it")
    head = f"<meta charset=utf-8><title>{escape(record.name)}</title><style>{style('style.css')}"
    return Plot(record.name, f"<!doctype html>{head}</style><body>{drawing}</body>", height=420)


def _row(rung: RungRecord, line: Line) -> str:
    mark = "{}" if line.kept else "<s>{}</s>"
    row = "".join(f"<td>{mark.format(escape(cell))}</td>" for cell in line.cells)
    verdict = rung.verdict if line.ruling is None else line.ruling.text
    return f"<tr>{row}<td>{escape(verdict)}</td></tr>"

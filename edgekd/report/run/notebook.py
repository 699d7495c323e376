"""The result of a run in a notebook or a repr, where there is neither browser nor run folder."""

from __future__ import annotations

import io
from html import escape

from rich.console import Console, Group
from rich.text import Text

from edgekd.evaluation.record import Record
from edgekd.evaluation.results import RungRecord
from edgekd.report.run.table import Line, ladder, lines, outcome


def shown(record: Record) -> Group:
    """Return the ladder and its closing lines, for `rich.print`."""
    return Group(ladder(record), *map(Text, outcome(record)))


def as_text(record: Record) -> str:
    """Return the same as plain text."""
    file = io.StringIO()
    Console(file=file, width=140, force_terminal=False, color_system=None).print(shown(record))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip("\n")


def as_html(record: Record) -> str:
    """Return the same as a small HTML table; a stage that did not pay is struck through."""
    titles = ("stage", record.metric.title, "size", "latency", "verdict")
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    rows = "".join(_row(rung, line) for rung in record.rungs for line in lines(record, rung))
    closing = "<br>".join(map(escape, outcome(record)))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p>{closing}</p>"


def _row(rung: RungRecord, line: Line) -> str:
    mark = "{}" if line.kept else "<s>{}</s>"
    row = "".join(f"<td>{mark.format(escape(cell))}</td>" for cell in line.cells)
    verdict = rung.verdict if line.ruling is None else line.ruling.text
    return f"<tr>{row}<td>{escape(verdict)}</td></tr>"

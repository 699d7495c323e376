"""What a run came to, where no browser and no run folder is at hand: in a notebook, in a repr."""

from __future__ import annotations

import io
from collections.abc import Mapping
from html import escape
from typing import Any

from rich.console import Console, Group
from rich.text import Text

from edgekd.report.run.table import interval, ladder, latency_text, outcome, size


def shown(content: Mapping[str, Any]) -> Group:
    """Return the ladder and its closing lines, for `rich.print`."""
    return Group(ladder(content), *map(Text, outcome(content)))


def as_text(content: Mapping[str, Any]) -> str:
    """Return the same as plain text."""
    file = io.StringIO()
    Console(file=file, width=140, force_terminal=False, color_system=None).print(shown(content))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).strip("\n")


def as_html(content: Mapping[str, Any]) -> str:
    """Return the same as a small HTML table; a stage that did not pay is struck through."""
    metric = content["task"]["metrics"][0]
    quality = f"{metric['name']}, {metric['unit']}".rstrip(", ")
    head = "".join(
        f"<th>{escape(t)}</th>" for t in ("stage", quality, "size", "latency", "verdict")
    )
    rows = "".join(_row(rung, metric["name"]) for rung in content["rungs"])
    closing = "<br>".join(map(escape, outcome(content)))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p>{closing}</p>"


def _row(rung: Mapping[str, Any], metric: str) -> str:
    cells = [rung["title"], "", "", ""]
    if rung["evidence"] is not None:
        own = rung["evidence"]["files"][rung["evidence"]["judged"]]
        cells = [
            f"{rung['title']} {own['label']}",
            interval(own["metrics"][metric]),
            size(own["facts"]["size_bytes"]),
            latency_text(own["latency_s"]),
        ]
    mark = "{}" if rung["kept"] else "<s>{}</s>"
    row = "".join(f"<td>{mark.format(escape(cell))}</td>" for cell in cells)
    return f"<tr>{row}<td>{escape(rung['verdict'])}</td></tr>"

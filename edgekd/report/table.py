"""The ladder as a table in a terminal, from the record alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text


def seconds(value: float) -> str:
    """Return a time as people read it."""
    if value < 1e-3:
        return f"{value * 1e6:.3g} µs"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def size(value: float) -> str:
    """Return bytes as people read them (powers of 1,000)."""
    if value < 1e6:
        return f"{value / 1e3:.3g} kB"
    return f"{value / 1e6:.3g} MB"


def interval(estimate: Mapping[str, Any] | None, *, of: Any = "{:.1f}".format) -> str:
    """Return 'value [low, high]', or that it was not measured."""
    if estimate is None:
        return "not measured"
    value, low, high = (of(estimate[k]) for k in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def latency_text(estimate: Mapping[str, Any] | None) -> str:
    """Return a latency with its interval in one unit."""
    if estimate is None:
        return "not measured"
    scale, unit = (1e6, "µs") if estimate["value"] < 1e-3 else (1e3, "ms")
    digits = 0 if unit == "µs" and estimate["value"] >= 1e-4 else 2 if unit == "ms" else 1
    low, high = (f"{estimate[k] * scale:.{digits}f}" for k in ("low", "high"))
    return f"{estimate['value'] * scale:.{digits}f} {unit} [{low}, {high}]"


def ladder(content: Mapping[str, Any]) -> Table:
    """Return the ladder of stages; a stage that did not pay stays in it, struck through."""
    metric = content["task"]["metrics"][0]
    table = Table(title=f"{content['name']} on {content['device']}", title_justify="left")
    table.add_column("stage")
    table.add_column(f"validation {metric['name']}, {metric['unit']}".rstrip(", "), justify="right")
    table.add_column("size", justify="right")
    table.add_column("latency, median", justify="right")
    table.add_column("against the teacher", justify="right")
    table.add_column("verdict", overflow="fold")
    for rung in content["rungs"]:
        for i, file in enumerate(rung["evidence"]["files"]):
            own = i == rung["evidence"]["judged"]
            if not own and not file["preview"]:
                continue
            cells = [
                f"{rung['title']} {file['label']}" if own else f"  {file['label']}",
                interval(file["metrics"][metric["name"]]),
                size(file["facts"]["size_bytes"]),
                latency_text(file["latency_s"]),
                interval(file["speedup"], of="{:.2f}x".format) if file["speedup"] else "",
                _verdict(rung) if own else "",
            ]
            style = "strike dim" if not rung["kept"] else "" if own else "dim"
            table.add_row(*(Text(c, style=style if j < 5 else "") for j, c in enumerate(cells)))
    return table


def _verdict(rung: Mapping[str, Any]) -> str:
    if rung["title"] == "teacher":
        return "reference"
    return f"{'kept' if rung['kept'] else 'rolled back'}: {rung['verdict']}"


def outcome(content: Mapping[str, Any]) -> list[str]:
    """Return the closing lines: what ships, how it does on the test split, the budget."""
    metric = content["task"]["metrics"][0]
    shipped, final = content["shipped"], content["final"]
    file = final["files"][final["chosen"]]
    lines = [
        f"ships {shipped['title']} ({shipped['variant']}): {size(file['size_bytes'])}, "
        f"{latency_text(file['latency_s'])}"
        + (
            f", {interval(file['speedup'], of='{:.2f}x'.format)} faster than the teacher"
            if file["speedup"]
            else ""
        )
    ]
    for tested in content["test"]["files"]:
        if tested["title"] == shipped["title"] and tested["label"] == shipped["variant"]:
            lines.append(
                f"test split, once ({content['test']['samples']} samples): "
                f"{interval(tested['metrics'][metric['name']])} {metric['unit']}, "
                f"{tested['gain']['value']:+.2f} [{tested['gain']['low']:+.2f}, "
                f"{tested['gain']['high']:+.2f}] since the teacher"
            )
    if content["over_budget"]:
        lines.append(f"✗ budget: {content['over_budget']}")
    return lines

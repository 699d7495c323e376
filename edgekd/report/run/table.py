"""The ladder as a table in a terminal, from the record alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
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
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("stage", no_wrap=True)
    unit = f", {metric['unit']}" if metric["unit"] else ""
    table.add_column(f"{metric['name']}{unit}", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("latency", no_wrap=True)
    table.add_column("against before", no_wrap=True)
    for rung in content["rungs"]:
        if rung["evidence"] is None:
            table.add_row(Text(rung["title"], style="strike dim"), "", "", "", _verdict(rung))
            continue
        own = rung["evidence"]["files"][rung["evidence"]["judged"]]
        style = "" if rung["kept"] else "strike dim"
        cells = [
            f"{rung['title']} {own['label']}",
            interval(own["metrics"][metric["name"]]),
            size(own["facts"]["size_bytes"]),
            latency_text(own["latency_s"]),
        ]
        table.add_row(*(Text(c, style=style) for c in cells), _verdict(rung))
    return table


def _verdict(rung: Mapping[str, Any]) -> Text:
    if rung["title"] == "teacher":
        return Text("reference")
    if not rung["kept"]:  # why stands below the table
        return Text(rung["outcome"], style="red" if rung["evidence"] else "yellow")
    speed = rung["evidence"]["findings"]["speedup"]
    against = "" if speed is None else f"{speed['value']:.2f}x "
    return Text.assemble(against, ("kept", "green"))


def outcome(content: Mapping[str, Any]) -> list[str]:
    """Return the closing lines: what did not pay, what ships, the test split, the budget."""
    metric = content["task"]["metrics"][0]
    shipped, final = content["shipped"], content["final"]
    file = final["files"][final["chosen"]]
    lines = [
        f"{rung['title']} {rung['outcome']}: {rung['verdict']}"
        for rung in content["rungs"]
        if rung["reasons"]
    ]
    lines.append(
        f"ships {shipped['title']} ({shipped['variant']}): {size(file['size_bytes'])}, "
        f"{latency_text(file['latency_s'])}"
        + (
            f", {interval(file['speedup'], of='{:.2f}'.format)} times faster than the teacher"
            if file["speedup"]
            else ""
        )
    )
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

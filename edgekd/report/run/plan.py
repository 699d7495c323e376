"""A plan as tables in a terminal, from its JSON alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgekd.evaluation.formatting import size

_PARTS = ("training_s", "export_s", "quantize_s", "quality_s", "measure_s")


def blocks(content: Mapping[str, Any]) -> Iterator[Table | Text]:
    """Yield what `edgekd compress --dry-run` shows: networks, stages, and what was assumed."""
    splits = ", ".join(f"{name} {count:,}" for name, count in content["splits"].items())
    yield Text(f"plan of {content['name']}, for {content['device']}")
    yield Text(f"data: {splits}" + _skipped(content["skipped"]))
    yield _networks(content)
    yield _stages(content)
    assumed = content["assumed"]
    yield Text(
        f"about {duration(content['seconds'])} and {size(content['disk_bytes'])} in "
        f"{content['folder']}, from nothing"
    )
    yield Text(
        "Timed here: two training steps of each network, each export, a calibration of few "
        f"samples, one batch. Assumed: {assumed['process_s']:g} s for each process that measures, "
        f"{assumed['write_s']:g} s for report and bundle. A busy machine takes longer. "
        "Nothing was written to the run folder.",
        style="dim",
    )


def _skipped(count: int) -> str:
    return f" ({count:,} left out that cannot be read)" if count else ""


def _networks(content: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("network", "parameters", "takes", "gives"):
        table.add_column(name, justify="right" if name == "parameters" else "left")
    for network in content["networks"]:
        ports = ("\n".join(map(_port, network[side])) for side in ("inputs", "outputs"))
        count = "" if network["parameters"] is None else f"{network['parameters']:,}"
        cells = [network["note"], ""] if network["note"] else ports
        table.add_row(network["title"], count, *map(Text, cells))
    return table


def _port(port: Mapping[str, Any]) -> str:
    return f"{port['name']}: {port['dtype']} [{', '.join(map(str, port['shape']))}]"


def _stages(content: Mapping[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("stage", "train", "export", "quantize", "quality", "measure", "in all"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in content["stages"]:
        cells = [duration(stage[part]) if stage[part] else "" for part in _PARTS]
        table.add_row(stage["title"], *cells, duration(stage["seconds"]))
    table.add_row("test, report, bundle", *[""] * len(_PARTS), duration(content["closing_s"]))
    return table


def duration(seconds: float) -> str:
    """Return a duration as people say it; an estimate has no more digits."""
    if seconds < 0.5:
        return "<1 s"
    if seconds < 90:
        return f"{round(seconds)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"

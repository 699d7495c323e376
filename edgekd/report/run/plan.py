"""The forecast of a run as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from edgekd.evaluation.forecast import Forecast
from edgekd.evaluation.formatting import size
from edgekd.exporters.file_facts import Entry

_PARTS = ("train", "export", "quantize", "quality", "measure")


def blocks(plan: Forecast) -> Iterator[Table | Text]:
    """Yield what `edgekd compress --dry-run` shows: networks, stages, and what was assumed."""
    splits = ", ".join(f"{name} {count:,}" for name, count in plan.splits.items())
    yield Text(f"plan of {plan.name}, for {plan.device}")
    yield Text(f"data: {splits}" + _skipped(plan.skipped))
    yield _networks(plan)
    yield _stages(plan)
    yield Text(
        f"about {duration(plan.seconds)} and {size(plan.disk_bytes)} in {plan.folder}, from nothing"
    )
    yield Text(_memory(plan))
    yield Text(
        "Timed here: two training steps of each network, each export, a calibration of few "
        f"samples, one batch. Assumed: {plan.assumed.process_s:g} s for each process that "
        f"measures, {plan.assumed.write_s:g} s for report and bundle. A busy machine takes longer. "
        "Nothing was written to the run folder.",
        style="dim",
    )


def _memory(plan: Forecast) -> str:
    largest = max((4 * (network.parameters or 0) for network in plan.networks), default=0)
    free = "" if plan.free_bytes is None else f", {size(plan.free_bytes)} are free"
    return (
        f"memory: about {size(plan.memory_bytes)} at its most, the whole process{free}; the "
        f"largest network itself has {size(largest)}"
    )


def _skipped(count: int) -> str:
    return f" ({count:,} left out that cannot be read)" if count else ""


def _networks(plan: Forecast) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("network", "parameters", "takes", "gives"):
        table.add_column(name, justify="right" if name == "parameters" else "left")
    for network in plan.networks:
        ports = ("\n".join(map(_port, side)) for side in (network.inputs, network.outputs))
        count = "" if network.parameters is None else f"{network.parameters:,}"
        cells = [network.note, ""] if network.note else ports
        table.add_row(network.title, count, *map(Text, cells))
    return table


def _port(port: Entry) -> str:
    return f"{port.name}: {port.dtype} [{', '.join(map(str, port.shape))}]"


def _stages(plan: Forecast) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("stage", *_PARTS, "in all"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for stage in plan.stages:
        cells = [duration(seconds) if seconds else "" for seconds in stage.parts_s]
        table.add_row(stage.title, *cells, duration(stage.seconds))
    table.add_row("test, report, bundle", *[""] * len(_PARTS), duration(plan.closing_s))
    return table


def duration(seconds: float) -> str:
    """Return a duration in words; an estimate has few digits."""
    if seconds < 0.5:
        return "<1 s"
    if seconds < 90:
        return f"{round(seconds)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"

"""Measured numbers in words for people: no more digits than the interval supports."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edgekd.benchmarks.statistics import LEAST_FLOOR, Estimate

if TYPE_CHECKING:
    from rich.table import Table

    from edgekd.benchmarks.bench import BenchFile, BenchResult


def milliseconds(estimate: Estimate) -> str:
    """Write seconds as "1.23 ms [1.20, 1.26]"."""
    value, low, high = (1e3 * x for x in (estimate.value, estimate.low, estimate.high))
    digits = _decimals(value, high - low)
    return f"{value:.{digits}f} ms [{low:.{digits}f}, {high:.{digits}f}]"


def times(estimate: Estimate) -> str:
    """Write a ratio as "1.85x [1.80, 1.90]"."""
    if estimate.low == estimate.value == estimate.high:
        return f"{estimate.value:.2f}x"
    digits = max(2, _decimals(estimate.value, estimate.high - estimate.low))
    return f"{estimate.value:.{digits}f}x [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def megabytes(size_bytes: int) -> str:
    """Write bytes as "13.5 MB", decimal."""
    return f"{size_bytes / 1e6:.{2 if size_bytes < 1e7 else 1}f} MB"


def bench_table(result: BenchResult) -> Table:
    """Build the table of `edgekd bench`, with the conditions below it."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption=_caption(result),
        caption_justify="left",
    )
    table.add_column("file", overflow="fold")
    for title in ("MB", "load\nms", "first\nms", "median\nms [95 %]", "p90\nms", "memory\nMB"):
        table.add_column(title, justify="right")
    compared = len(result.files) > 1
    if compared:
        table.add_column("speed-up\n[95 %]", justify="right")
        table.add_column("verdict", no_wrap=True)
    names = [file.file.name for file in result.files]
    for file in result.files:
        name = file.file.name if names.count(file.file.name) == 1 else str(file.file)
        table.add_row(
            name.replace("[", "\\["), *_cells(file), *(_comparison(file) if compared else ())
        )
    return table


def _cells(file: BenchFile) -> list[str]:
    cells = [
        megabytes(file.size_bytes),
        f"{1e3 * file.load_s:.1f}",
        _short(file.first_s),
        milliseconds(file.latency_s),
        _short(file.p90_s.value),
        megabytes(file.peak_memory_bytes),
    ]
    # The units stand in the header; rich takes [ as markup.
    return [cell.replace(" ms", "").replace(" MB", "").replace("[", "\\[") for cell in cells]


def _comparison(file: BenchFile) -> list[str]:
    style = {"faster": "green", "slower": "red"}.get(file.verdict, "default")
    if file.speedup is None:
        return ["reference", ""]
    return [times(file.speedup).replace("[", "\\["), f"[{style}]{file.verdict}[/]"]


def _caption(result: BenchResult) -> str:
    first = result.session.measurements[0]
    c, runs = first.conditions, first.runs
    threads = f"{c.threads} thread" + ("s" if c.threads > 1 else "")
    names = [file.file.name for file in result.files]
    inputs = sorted({f"{n} {what}" for f in result.files for n, what in f.inputs.items()})
    lines = [
        f"{c.device}: {c.cpu}, {c.runtime}, {c.provider}, {threads}",
        f"{result.feeds} inputs: {', '.join(inputs)}",
        f"one interleaved session, {len(runs)} processes per file; memory is of the whole process",
        f"A/A floor {100 * result.session.floor:.1f} %, added to every speed-up interval: what a "
        f"second timing of {names[0]} differed by, at least {100 * LEAST_FLOOR:.1f} %",
    ]
    if not all(file.steady for file in result.files):
        lines.append(
            "no steady state: the times drifted, or the time limit left too few processes; "
            "let the machine rest, or give more --rounds"
        )
    return "\n".join(lines).replace("[", "\\[")


def _short(seconds: float) -> str:
    """Milliseconds in three significant digits."""
    value = 1e3 * seconds
    return f"{value:.{_decimals(value, value / 10)}f}"


def _decimals(value: float, width: float) -> int:
    """Decimals so that an interval of this width shows one or two digits of itself, 0 to 6."""
    scale = max(width, abs(value) * 1e-3)
    return 2 if scale <= 0 else min(6, max(0, 1 - math.floor(math.log10(scale))))

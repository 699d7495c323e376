"""The table of `edgekd bench`, with the conditions below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekd.benchmarks.formatting import megabytes, milliseconds, short, significant, times
from edgekd.benchmarks.stats import LEAST_FLOOR, Estimate

if TYPE_CHECKING:
    from rich.table import Table

    from edgekd.benchmarks.result import BenchResult, Row


def bench_table(result: BenchResult, *, verbose: bool = True) -> Table:
    """Build the table of `edgekd bench`, with the conditions below it.

    Args:
        result: of `edgekd.benchmarks.bench.bench`.
        verbose: also say how it was measured, and list every event.
    """
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption=caption(result) if verbose else short_caption(result),
        caption_justify="left",
    )
    table.add_column("file", overflow="fold")
    tail = _tail(result)
    titles = ["MB", "load\nms", "first\nms", "median\nms [95 %]", *tail, "per s", "memory\nMB"]
    for title in titles:
        table.add_column(title, justify="right")
    compared = len(result.rows) > 1
    if compared:
        table.add_column("speed-up\n[95 %]", justify="right")
        table.add_column("verdict", no_wrap=True)
    for row in result.rows:
        label = row.label.replace("[", "\\[")
        table.add_row(label, *_cells(row, tail), *(_comparison(row) if compared else ()))
    return table


def _tail(result: BenchResult) -> list[str]:
    """Return the percentiles that every file has calls enough for.

    Loadgen's figure is a bound, so it is never in the column of the percentile.
    """
    return [
        title
        for title, name in (("p90\nms", "p90_s"), ("p99\nms", "p99_s"))
        if any(getattr(row, name) is not None for row in result.rows)
    ]


def _cells(row: Row, tail: list[str]) -> list[str]:
    percentiles = {"p90\nms": row.p90_s, "p99\nms": row.p99_s}
    cells = [
        megabytes(row.size_bytes),
        f"{1e3 * row.load_s:.1f}",
        short(row.first_s),
        milliseconds(row.latency_s),
        *(_value(percentiles[title]) for title in tail),
        significant(row.throughput_hz.value),
        megabytes(row.peak_memory_bytes),
    ]
    # The units are in the header; rich takes [ as markup.
    return [cell.replace(" ms", "").replace(" MB", "").replace("[", "\\[") for cell in cells]


def _value(percentile: Estimate | None) -> str:
    return "too few" if percentile is None else short(percentile.value)


def _comparison(row: Row) -> list[str]:
    style = {"faster": "green", "slower": "red"}.get(row.verdict, "default")
    if row.speedup is None:
        return ["", row.verdict] if row.unlike else ["reference", ""]
    return [times(row.speedup).replace("[", "\\["), f"[{style}]{row.verdict}[/]"]


def short_caption(result: BenchResult) -> str:
    """Say in few lines where it was timed, on what, and what to doubt."""
    place, inputs, *_ = caption(result).splitlines()
    doubts = [f"{doubt.what}: {doubt.advice}" for doubt in result.doubts]
    restless = [row.label for row in result.rows if not row.steady]
    lines = [*doubts, *(f"{name}: {reason}" for name, reason in result.unavailable.items())]
    if restless and len(result.rows) == 1:
        lines.append("no steady state: do not trust this absolute time; give more --time")
    shown = [line.replace("[", "\\[") for line in (*result.notes, *lines)]
    hidden = len(caption(result).splitlines()) - 2 - len(shown)
    more = f"--verbose shows {hidden} more notes on how it was measured" if hidden > 0 else ""
    return "\n".join(filter(None, [place, inputs, *shown, more]))


def caption(result: BenchResult) -> str:
    """Say under which conditions it was timed, how sure it is, and what to doubt."""
    first = result.session.measurements[0]
    c, count = first.conditions, len(first.runs)
    inputs = sorted({f"{name} {what}" for r in result.rows for name, what in r.inputs.items()})
    runtimes = ", ".join(dict.fromkeys(r.conditions.runtime for r in result.rows))
    threads = sorted({r.conditions.threads for r in result.rows})
    counted = ", ".join(map(str, threads)) + (" thread" if threads == [1] else " threads")
    lines = [
        f"{c.device}: {c.cpu}, {runtimes}, {c.provider}, {counted}",
        f"{result.feeds} inputs: {', '.join(inputs)}",
        f"one interleaved session, {count} processes per file; memory is of the whole process",
        f"A/A noise floor {100 * result.floor:.1f} %, added to every speed-up interval: the "
        f"difference of a second timing of {result.rows[0].label}, at least "
        f"{100 * LEAST_FLOOR:.1f} %",
        *result.notes,
        *_mode(result),
        *_bounds(result),
        *_parts(result),
        *_events(result),
        *(f"{doubt.what}: {doubt.advice}" for doubt in result.doubts),
        *(f"{name}: {reason}" for name, reason in result.unavailable.items()),
    ]
    return "\n".join(lines).replace("[", "\\[")


def _mode(result: BenchResult) -> list[str]:
    rate_hz = result.session.timing.rate_hz
    if rate_hz is None:
        return []
    late = [
        f"{100 * row.late_share:.1f} % of the calls of {row.label} ended after the next one was due"
        for row in result.rows
        if row.late_share
    ]
    return [
        f"a call every {1e3 / rate_hz:g} ms, latency is from the intended start, so a stall "
        "counts for every call that had to wait" + ("; " + "; ".join(late) if late else "")
    ]


def _bounds(result: BenchResult) -> list[str]:
    shown = [
        f"{row.label} {name} (early-stopping bound) {short(value)} ms"
        for row in result.rows
        for name, value in (("p90", row.p90_bound_s), ("p99", row.p99_bound_s))
        if value is not None
    ]
    return [f"as MLPerf's loadgen bounds them: {', '.join(shown)}"] if shown else []


def _parts(result: BenchResult) -> list[str]:
    return [
        f"{row.label} end to end: "
        + ", ".join(f"{name.replace('_', ' ')} {short(e.value)} ms" for name, e in parts.items())
        + f", in all {short(sum(e.value for e in parts.values()))} ms"
        for row in result.rows
        if (parts := row.parts_s)
    ]


def _events(result: BenchResult) -> list[str]:
    lines = [f"{r.label}: {event.text}" for r in result.rows for event in r.steadiness.events]
    restless = [row.label for row in result.rows if not row.steady]
    if restless:
        lines.append(
            f"no steady state of {', '.join(restless)}: the speed changed during the measurement, "
            "or there was only time for too few processes. Do not trust these absolute times; let "
            "the machine rest, or give more --time"
        )
    verdicts = [row.verdict for row in result.rows if row.verdict]
    if restless and verdicts and not {"no steady state", "unlike inputs"} & set(verdicts):
        lines.append("files that ran side by side changed alike, so the comparison is valid")
    return lines

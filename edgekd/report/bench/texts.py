"""The texts of the tables and lists of the page of `edgekd bench`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgekd.benchmarks.formatting import times
from edgekd.benchmarks.result import BenchResult, Row
from edgekd.benchmarks.stats import LEAST_FLOOR, Estimate
from edgekd.evaluation.formatting import size
from edgekd.evaluation.privacy import without_paths
from edgekd.report.charts.svg import time_unit

NOT_MEASURED = "not measured"
TOO_FEW = "too few calls"


def labels(result: BenchResult) -> list[str]:
    """Return a name for each row: the file name without its folder, numbered if two are equal."""
    names = [row.label.replace(str(row.file), row.file.name) for row in result.rows]
    names = [without_paths(name) for name in names]
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(f"{name} ({seen[name]})" if names.count(name) > 1 else name)
    return found


def timed(estimate: Estimate | None, *, missing: str = NOT_MEASURED) -> str:
    """Return seconds as "1.23 ms [1.20, 1.26]", with the digits that the interval supports."""
    if estimate is None:
        return missing
    factor, unit = time_unit([estimate.value])
    return _spread(estimate, factor, unit)


def _spread(estimate: Estimate, factor: float, unit: str) -> str:
    value, low, high = (factor * x for x in (estimate.value, estimate.low, estimate.high))
    scale = max(high - low, 1e-3 * abs(value))
    digits = 2 if scale <= 0 else min(6, max(0, 1 - math.floor(math.log10(scale))))
    return f"{value:,.{digits}f} {unit} [{low:,.{digits}f}, {high:,.{digits}f}]"


def seconds(value: float | None, *, missing: str = NOT_MEASURED) -> str:
    """Return seconds in three digits and a unit that suits them."""
    if value is None:
        return missing
    factor, unit = time_unit([value])
    return (
        f"{factor * value:.3g} {unit}" if factor * value < 1000 else f"{factor * value:,.0f} {unit}"
    )


Cells = list[tuple[str, str]]


def table(result: BenchResult) -> list[Cells]:
    """Return title and text of the cells of every row: latency and its tail."""
    late = result.session.timing.rate_hz is not None
    rows = []
    for row in result.rows:
        cells = [
            ("Median", timed(row.latency_s)),
            ("p90", timed(row.p90_s, missing=TOO_FEW)),
            ("p99", timed(row.p99_s, missing=TOO_FEW)),
            ("p90 (early-stopping bound)", seconds(row.p90_bound_s, missing=TOO_FEW)),
            ("p99 (early-stopping bound)", seconds(row.p99_bound_s, missing=TOO_FEW)),
        ]
        if late:
            share = NOT_MEASURED if row.late_share is None else f"{100 * row.late_share:.2g} %"
            cells.append(("Late calls", share))
        if len(result.rows) > 1:
            cells.append(("Speed-up", _speedup(row)))
        rows.append(cells)
    return rows


def _speedup(row: Row) -> str:
    if row.speedup is None:
        return row.verdict or "reference"
    return times(row.speedup)


def costs(result: BenchResult) -> list[Cells]:
    """Return title and text of the cells of every row: all else that was measured."""
    rows = []
    for row in result.rows:
        rows.append(
            [
                ("Size", size(row.size_bytes)),
                ("Load", seconds(row.load_s)),
                ("First call", seconds(row.first_s)),
                ("Samples per second", _rate(row.throughput_hz)),
                ("Peak memory", size(row.peak_memory_bytes)),
                ("Energy a call", NOT_MEASURED if row.energy_j is None else _joules(row.energy_j)),
                ("Harness a call", seconds(row.harness_s)),
            ]
        )
    return rows


def _rate(estimate: Estimate) -> str:
    return _spread(estimate, 1.0, "").replace("  [", " [")


def _joules(estimate: Estimate) -> str:
    factor, unit = (1e3, "mJ") if estimate.value < 1 else (1.0, "J")
    return _spread(estimate, factor, unit)


def doubts(result: BenchResult, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return what a sceptic should know, and what to do about it."""
    found = [(capital(doubt.what), doubt.advice) for doubt in result.doubts]
    for row, name in zip(result.rows, names, strict=True):
        if not row.steadiness.enough:
            what = f"{name}: there was only time for too few processes to judge a steady state"
            found.append((what, "give it more --time, or lower --precision"))
        elif not row.steady:
            what = f"{name} did not run at one speed: {cause(row)}"
            found.append((what, "let the machine rest, stop other work, and measure again"))
    for note in result.notes:
        what, _, advice = note.rpartition("; ")
        found.append((capital(what), advice))
    found += [(f"{name} was not timed", reason) for name, reason in result.unavailable.items()]
    return [(without_paths(what), capital(without_paths(advice))) for what, advice in found]


def cause(row: Row) -> str:
    """Say why the absolute times of a row are doubtful."""
    if not row.steadiness.enough:
        return "there was only time for too few processes to judge"
    events = [event for event in row.steadiness.events if event.kind != "warm-up"]
    return without_paths(events[0].text) if events else "the speed changed during the measurement"


def conditions(result: BenchResult) -> list[tuple[str, str]]:
    """Return name and value of everything that the times depend on."""
    every = [row.conditions for row in result.rows]
    first = every[0]
    load = NOT_MEASURED if first.load_average is None else f"{first.load_average:.2f}"
    inputs = _listed(f"{name} {what}" for row in result.rows for name, what in row.inputs.items())
    feeds = result.feeds if result.feeds == "random" else f"from {Path(result.feeds).name}"
    found = [
        ("CPU", first.cpu),
        ("runtime", _listed(c.runtime for c in every)),
        ("provider", _listed(c.provider or "the runtime's own" for c in every)),
        ("threads", _listed(str(c.threads) for c in every)),
        ("streams", _listed(str(c.streams) for c in every)),
        ("options", _listed(f"{k}={v}" for c in every for k, v in c.options) or "none"),
        ("inputs", f"{inputs}; {feeds}"),
        ("batch", _listed(str(row.batch) for row in result.rows)),
        ("clock governor", first.governor or NOT_MEASURED),
        ("load before the start", load),
        ("system", f"{first.os}, Python {first.python}"),
    ]
    return [(name, without_paths(value)) for name, value in found]


def capital(sentence: str) -> str:
    """Let a sentence begin like one."""
    return sentence[:1].upper() + sentence[1:]


def _listed(values: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(values))


def method(result: BenchResult, names: Sequence[str]) -> list[str]:
    """Say in three sentences how it was measured."""
    timing = result.session.timing
    runs = result.session.measurements[0].runs
    blocks = [len(run.blocks_s) for run in runs]
    calls = sum(len(b) for m in result.session.measurements for r in m.runs for b in r.blocks_s)
    return [
        f"Every row ran in {len(runs)} fresh processes, each with {max(blocks)} timed blocks of "
        f"{seconds(timing.block_s)} or longer after {seconds(timing.warmup_s)} of warm-up; blocks "
        f"of all rows alternated in random order, {calls:,} calls in all.",
        "A latency is the median (or percentile) of the calls of a process, averaged over "
        "processes, with Student's interval over processes; a speed-up is the ratio of blocks that "
        "ran side by side, with a bootstrap interval over processes and blocks.",
        f"{names[0]} was timed twice in the same session, as its own A/A twin: the difference that "
        f"was found, {100 * result.floor:.1f} % (at least {100 * LEAST_FLOOR:.1f} %), widens every "
        "interval of a speed-up; a smaller difference counts as none.",
    ]

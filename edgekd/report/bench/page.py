"""The page of `edgekd bench`: one HTML file with plots.

It opens without a network: a policy in its head forbids every request, and nothing in it would make
one. Files appear only by their names. The figures are also in the page as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from edgekd.benchmarks.layers.nodes import Profile
from edgekd.benchmarks.layers.roofline import Roofline
from edgekd.benchmarks.result import BenchResult
from edgekd.benchmarks.stats import Estimate
from edgekd.benchmarks.stats.compare import paired
from edgekd.benchmarks.stats.estimate import exp
from edgekd.evaluation.privacy import cleaned
from edgekd.report.bench import headline as bench_headline
from edgekd.report.bench import layers as bench_layers
from edgekd.report.bench import texts
from edgekd.report.bench.calls import Calls, distributions
from edgekd.report.bench.charts import Speedup, comparison, parts_bars
from edgekd.report.bench.series import (
    Series,
    clock_of,
    counters,
    of_latency,
    of_ratio,
)
from edgekd.report.bench.timeline import draw_timeline
from edgekd.report.template import embedded, environment, style
from edgekd.store import write_atomic

MOST_RAW_BYTES = 1_000_000
"""Raw seconds that would take more than this in the page stay out of it."""
_NUMBER_BYTES = 22  # of one of them as JSON, at most

Profiles = Sequence[tuple[str, Profile, Roofline]]


@dataclass(frozen=True)
class Overview:
    """The top of a page of several sessions; `page` escapes its text."""

    title: str
    about: str
    lead: tuple[str, ...]
    columns: tuple[str, ...]  # the last is that of the verdict
    words: int  # number of columns at the left with names; the others have figures
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def write_bench(result: BenchResult, path: Path, *, profiles: Profiles = ()) -> None:
    """Write the page of one session, whole or not at all.

    Args:
        result: of `edgekd.benchmarks.bench.bench`.
        path: of the page; what was there is replaced.
        profiles: label, profile and roofline of rows that were profiled.
    """
    write_atomic(path, bench_page(result, profiles=profiles))


def bench_page(result: BenchResult, *, profiles: Profiles = ()) -> str:
    """Return the whole page; equal results give equal bytes."""
    found = [("", session(result, profiles=profiles))]
    return page(texts.labels(result)[0], found, content(result, profiles=profiles))


def page(
    title: str,
    sessions: Sequence[tuple[str, Markup]],
    record: Mapping[str, Any],
    *,
    overview: Overview | None = None,
) -> str:
    """Return a page of one or more sessions.

    Args:
        title: of the window.
        sessions: the heading of each, "" for none, and what `session` returned.
        record: the figures, to travel inside the page.
        overview: the content before the sessions.
    """
    return (
        environment()
        .get_template("bench.html.j2")
        .render(
            title=title,
            sessions=sessions,
            overview=overview,
            css=style("style.css", "bench.css"),
            embedded=embedded(record),
        )
    )


def session(result: BenchResult, *, profiles: Profiles = ()) -> Markup:
    """Return the part of a page that shows one session."""
    names = texts.labels(result)
    kinds = [row.verdict.replace(" ", "-") or "reference" for row in result.rows]
    series, machine, absent = _over_time(result, names)
    parts = [(n, r.parts_s) for n, r in zip(names, result.rows, strict=True) if r.parts_s]
    return Markup(
        environment()
        .get_template("bench_session.html.j2")
        .render(
            names=names,
            kinds=kinds,
            rows=result.rows,
            words=texts,
            top=bench_headline,
            result=result,
            comparison=_comparison(result, names),
            distributions=_distributions(result, names),
            series=series,
            machine=machine,
            absent=absent,
            marks=[(one.label, mark) for one in series for mark in one.events],
            sampled=clock_of(result.session).sampled,
            parts=parts,
            part_chart=Markup(parts_bars(parts)) if parts else None,
            layers=[bench_layers.shown(*found) for found in profiles],
        )
    )


def twin(result: BenchResult) -> Estimate:
    """Return how many times faster the first file was than itself: the effect of noise."""
    return exp(paired(result.session.measurements[0], result.session.twin))


def _comparison(result: BenchResult, names: Sequence[str]) -> Markup:
    rows = [
        Speedup(name, row.speedup, row.verdict.replace(" ", "-"), row.verdict)
        for row, name in zip(result.rows, names, strict=True)
        if row.speedup is not None
    ]
    rows.append(Speedup(f"A/A: {names[0]} again", twin(result), "twin", ""))
    return Markup(comparison(rows, reference=names[0], floor=result.floor))


def _distributions(result: BenchResult, names: Sequence[str]) -> Markup:
    rate_hz = result.session.timing.rate_hz
    rows = [
        Calls(
            name,
            [
                np.concatenate([np.asarray(block) for block in run.blocks_s])
                for run in measured.runs
            ],
            row.latency_s.value,
            None if row.p90_s is None else row.p90_s.value,
        )
        for row, name, measured in zip(result.rows, names, result.session.measurements, strict=True)
    ]
    return Markup(distributions(rows, period_s=None if rate_hz is None else 1 / rate_hz))


def _over_time(result: BenchResult, names: Sequence[str]) -> tuple[list[Series], Markup, list[str]]:
    """Return the series with their events, their chart, and the counters that were not there."""
    session, clock = result.session, clock_of(result.session)
    measured = list(zip(result.rows, names, session.measurements, strict=True))
    series = [
        of_latency(
            one,
            clock,
            label=name,
            about=f"0 is {texts.seconds(row.latency_s.value)}",
            found=row.steadiness,
        )
        for row, name, one in measured
    ]
    series += [
        of_ratio(
            session.measurements[0],
            one,
            clock,
            label=f"{name} / {names[0]}, block by block",
            found=row.pair,
        )
        for row, name, one in measured
        if row.pair is not None
    ]
    machine, absent = counters(session, clock)
    axis = "seconds since the start" if clock.sampled else "seconds of calls"
    return series, Markup(draw_timeline(series, machine, axis=axis)), absent


def content(result: BenchResult, *, profiles: Profiles = (), sessions: int = 1) -> dict[str, Any]:
    """Return the figures of a session as plain JSON values: no path, no device's name in them.

    Raw seconds are among them where those of all `sessions` of the page would take less than
    `MOST_RAW_BYTES`, else `blocks_s` is null.
    """
    names = texts.labels(result)
    whole = result.to_json()
    for row, name in zip(whole["rows"], names, strict=True):
        row.update(label=name, file=Path(row["file"]).name)
        del row["conditions"]["device"]
    session = whole["session"]
    calls = 0
    for measured in (*session["measurements"], session["twin"]):
        del measured["conditions"]["device"]
        calls += sum(len(block) for run in measured["runs"] for block in run["blocks_s"])
        for run in measured["runs"]:
            run["block_medians_s"] = [float(np.median(block)) for block in run["blocks_s"]]
    if calls * _NUMBER_BYTES * sessions > MOST_RAW_BYTES:
        for measured in (*session["measurements"], session["twin"]):
            for run in measured["runs"]:
                run["blocks_s"] = None
    whole["feeds"] = Path(whole["feeds"]).name
    whole["twin"] = asdict(twin(result))
    whole["profiles"] = [
        {"label": label, "profile": profile.to_json(), "roofline": limits.to_json()}
        for label, profile, limits in profiles
    ]
    return cleaned(whole)

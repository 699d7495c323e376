"""The result of `edgekd bench`: one row per file and setup, and all raw times."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.benchmarks.formatting import milliseconds, times
from edgekd.benchmarks.input_shapes import difference
from edgekd.benchmarks.measurement import Conditions, Measurement, Session
from edgekd.benchmarks.stats import (
    Doubt,
    Estimate,
    Steadiness,
    energy_j,
    latency,
    noise_floor,
    pair_steadiness,
    percentile,
    percentile_bound,
    speedup,
    steadiness,
    student,
    warnings,
)
from edgekd.benchmarks.stats.estimate import exp
from edgekd.wording import flag

LEAST_CALLS = {90: 20, 99: 200}
"""Calls per process below which a percentile is not reported: see `trials/coverage.py`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file in one setup. Load and first call are medians over processes."""

    file: Path
    label: str  # distinguishes it from the other rows
    conditions: Conditions
    batch: int
    inputs: Mapping[str, str]  # name -> type and shape it was timed with
    size_bytes: int  # external data included
    load_s: float
    first_s: float
    latency_s: Estimate  # at a fixed rate: from the intended start
    p90_s: Estimate | None  # None: too few calls in a process
    p99_s: Estimate | None
    p90_bound_s: float | None  # loadgen's early-stopping estimate over all calls, an upper bound
    p99_bound_s: float | None
    throughput_hz: Estimate  # samples per second, all streams together
    late_share: float | None  # at a fixed rate: calls that ended after the next one should start
    peak_memory_bytes: int  # of the whole process; the largest of all
    harness_s: float  # what the harness adds to a call; not subtracted
    energy_j: Estimate | None  # of one inference, idle subtracted; None: not measured
    parts_s: Mapping[str, Estimate]  # end to end; empty if not requested
    steadiness: Steadiness  # of its absolute times
    speedup: Estimate | None  # against the reference; None for the reference itself
    pair: Steadiness | None  # of its ratio to the reference: what a comparison rests on
    sample_shapes: Mapping[str, tuple[int, ...]]  # of its inputs, the batch axis left out
    unlike: str  # how its inputs differ from the reference's, in words; "" if they are alike
    per_sample: bool  # the speed-up compares the seconds of a sample, not of a call

    @property
    def steady(self) -> bool:
        """Whether its absolute times may be believed."""
        return self.steadiness.steady and not self.steadiness.throttled

    @property
    def verdict(self) -> str:
        """Say in words what the speed-up proves; "" for the reference."""
        if self.unlike and not self.per_sample:
            return "unlike inputs"
        if self.speedup is None or self.pair is None:
            return ""
        if self.pair.throttled:
            return "throttled"
        if not self.pair.steady:
            return "no steady state"
        if self.speedup.high < 1:
            return "slower"
        return "faster" if self.speedup.low > 1 else "no difference"


@dataclass(frozen=True, repr=False)
class BenchResult:
    """All rows of one session; the first is what the others are compared with."""

    rows: tuple[Row, ...]
    session: Session
    feeds: str  # where the inputs came from: "random", or a file
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Setups that could not be run here, and why."""
    notes: tuple[str, ...] = ()
    """What must be known of the inputs, in words: which are unlike, which lengths are assumed."""

    @functools.cached_property
    def floor(self) -> float:
        """The noise floor: the relative difference between two timings of the first file."""
        return noise_floor(self.session)

    @functools.cached_property
    def doubts(self) -> tuple[Doubt, ...]:
        """Reasons to doubt the result, and what to do about each."""
        return warnings(self.session)

    def to_json(self) -> dict[str, Any]:
        """Return everything, raw seconds included, as plain JSON values."""
        rows = [{**asdict(r), "file": str(r.file), "verdict": r.verdict} for r in self.rows]
        return {
            "floor": self.floor,
            "feeds": self.feeds,
            "rows": rows,
            "doubts": [asdict(doubt) for doubt in self.doubts],
            "unavailable": dict(self.unavailable),
            "notes": list(self.notes),
            "session": self.session.to_json(),
        }

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(r.label)}</td><td>{escape(milliseconds(r.latency_s))}</td>"
            f"<td>{escape(times(r.speedup)) if r.speedup else ''}</td>"
            f"<td>{escape(r.verdict or 'reference')}</td></tr>"
            for r in self.rows
        )
        head = "".join(f"<th>{title}</th>" for title in ("file", "latency", "faster", "verdict"))
        doubts = "".join(f"<br>{escape(str(note))}" for note in self.notes)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{doubts}"

    def __repr__(self) -> str:
        """Say the essence in one line per row."""
        lines = [
            f"{r.label}: {milliseconds(r.latency_s)}"
            + (f", {times(r.speedup)}" if r.speedup else "")
            + f" {r.verdict}".rstrip()
            for r in self.rows
        ]
        return "BenchResult(" + "; ".join(lines) + ")"


@dataclass(frozen=True)
class Described:
    """Facts about a candidate besides its times."""

    file: Path
    label: str
    batch: int
    inputs: Mapping[str, str]
    size_bytes: int
    sample_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def row(
    known: Described,
    measured: Measurement,
    session: Session,
    floor: float,
    *,
    reference: Described | None = None,
    per_sample: bool = False,
) -> Row:
    """Derive the row of one candidate from the raw seconds of its session.

    Args:
        known: the candidate.
        measured: its seconds.
        session: of all.
        floor: A/A noise floor of the session.
        reference: the first candidate; without it, inputs count as alike.
        per_sample: compare the seconds of a sample, so that other inputs may be compared.
    """
    first = session.measurements[0]
    unlike = difference(known, reference) if reference is not None else ""
    compared = measured is not first and (per_sample or not unlike)
    counts = (reference.batch, known.batch) if reference is not None and per_sample else (1, 1)
    beside = (*session.measurements, session.twin)
    calls = np.concatenate([np.concatenate(run.blocks_s) for run in measured.runs])
    rate_hz = session.timing.rate_hz
    return Row(
        file=known.file,
        label=known.label,
        batch=known.batch,
        inputs=known.inputs,
        conditions=measured.conditions,
        size_bytes=known.size_bytes,
        load_s=float(np.median([run.load_s for run in measured.runs])),
        first_s=float(np.median([run.first_s for run in measured.runs])),
        latency_s=latency(measured),
        p90_s=_percentile(measured, 90),
        p99_s=_percentile(measured, 99),
        p90_bound_s=percentile_bound(calls, 0.9),
        p99_bound_s=percentile_bound(calls, 0.99),
        throughput_hz=_throughput(measured, known.batch),
        late_share=None if rate_hz is None else float(np.mean(calls > 1 / rate_hz)),
        peak_memory_bytes=max(run.peak_memory_bytes for run in measured.runs),
        harness_s=float(np.median([run.harness_s for run in measured.runs])),
        energy_j=energy_j(measured, session),
        parts_s=_parts(measured),
        steadiness=steadiness(measured, floor=floor, beside=beside),
        speedup=speedup(first, measured, floor=floor, samples=counts) if compared else None,
        pair=pair_steadiness(first, measured, floor=floor) if compared else None,
        sample_shapes=known.sample_shapes,
        unlike=unlike,
        per_sample=per_sample,
    )


def unlike_text(row: Row) -> str:
    """Say how the inputs of a row differ from the reference's, and what that means."""
    if row.per_sample:
        return f"{row.unlike}; the speed-up is of one sample, as {flag('per_sample')} asks"
    return (
        f"{row.unlike}; unlike inputs are not compared. Give both files the same with "
        f"{flag('shape')} or {flag('batch')}, or compare the time of one sample with "
        f"{flag('per_sample')}"
    )


def _percentile(measured: Measurement, q: int) -> Estimate | None:
    fewest = min(sum(map(len, run.blocks_s)) for run in measured.runs)
    return percentile(measured, q) if fewest >= LEAST_CALLS[q] else None


def _throughput(measured: Measurement, batch: int) -> Estimate:
    """Samples per second while it worked: calls of a block over its seconds, all streams."""
    rates = [
        np.log(batch * sum(map(len, run.blocks_s)) / sum(run.elapsed_s)) for run in measured.runs
    ]
    return exp(student(np.array(rates)))


def _parts(measured: Measurement) -> dict[str, Estimate]:
    names = measured.runs[0].parts_s
    return {
        name: exp(student(np.array([np.log(np.median(r.parts_s[name])) for r in measured.runs])))
        for name in names
    }

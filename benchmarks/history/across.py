"""Compare two sessions, unpaired: is today's time outside the usual range of this machine?

Sessions on a shared machine differ by several per cent for reasons that no session can see: who
else works there, where memory lies, how warm it is. So a stored session is one value, whatever its
own interval shows, and today's session is compared with where the next one of the same kind should
fall: Student's prediction interval, on the log scale (G. Hahn, W. Meeker, "Statistical Intervals",
1991, section 4.7).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekd.benchmarks.history.comparison import Comparison, verdict_of
from edgekd.benchmarks.history.entry import Entry, StoredRow
from edgekd.benchmarks.measurement import Conditions
from edgekd.benchmarks.result import BenchResult, Row
from edgekd.benchmarks.stats import Estimate, student
from edgekd.benchmarks.stats.estimate import ERROR, exp
from edgekd.benchmarks.stats.student import student_quantile

LEAST_SESSIONS = 3


def compare_across(
    file: Path,
    stored: Sequence[StoredRow],
    result: BenchResult,
    entries: Sequence[Entry],
    *,
    equal: bool,
    allow: float = 0.0,
) -> list[Comparison]:
    """Compare today's session with the stored ones.

    Args:
        file: what was timed today.
        stored: rows of its counterpart in the baseline.
        result: today's session of the file alone.
        entries: all sessions of the baseline's name.
        equal: the file has the bytes of its counterpart.
        allow: how much slower it may be, as a share.
    """
    comparisons = []
    for row in result.rows:
        plain = Comparison(
            label=row.label,
            file=file,
            stored=stored[0].file,
            method="none",
            before_s=None,
            now_s=row.latency_s,
            speedup=None,
            verdict="undecided",
        )
        twin = next((old for old in stored if _same_call(old, row)), None)
        if equal and twin is not None and twin.conditions == row.conditions:
            comparisons.append(unchanged(plain))
            continue
        past = [] if twin is None else _alike(entries, twin, result.session.timing.rate_hz)
        refusal = _refusal(twin, row, len(past))
        if refusal:
            comparisons.append(replace(plain, reason=refusal))
            continue
        assert twin is not None
        gain = speedup_across(past, row.latency_s, floor=result.floor)
        told = replace(
            plain,
            method="across sessions",
            before_s=exp(student(np.log([session.value for session in past]))),
            speedup=gain,
            verdict=verdict_of(gain, row.steadiness, allow=allow),
            reason=_what_changed(twin, row.conditions, equal=equal),
        )
        comparisons.append(told)
    return comparisons


def unchanged(plain: Comparison) -> Comparison:
    """Return the answer for what is the same as before in all that is recorded."""
    why = "the file and all recorded conditions are the same as for the baseline"
    return replace(plain, verdict="unchanged", reason=why)


def speedup_across(stored: Sequence[Estimate], now: Estimate, *, floor: float) -> Estimate:
    """Return how many times faster today is than the stored sessions: their seconds / today's.

    The interval contains 1 in 95 % of sessions that nothing made slower or faster. It is widened by
    `floor` on both sides, and never narrower than today's session alone would allow: few sessions
    may agree by chance.

    Args:
        stored: latencies of at least 3 sessions of one file under equal conditions, seconds.
        now: today's latency, seconds.
        floor: A/A floor of today's session, relative, >= 0.

    Raises:
        ValueError: there are fewer sessions.
    """
    n = len(stored)
    if n < LEAST_SESSIONS:
        raise ValueError(f"got {n} stored sessions; {LEAST_SESSIONS} are needed")
    logs = np.log([session.value for session in stored])
    today = (math.log(now.high) - math.log(now.low)) / (2 * student_quantile(ERROR, now.n - 1))
    deviation = max(float(logs.std(ddof=1)), today)
    half = student_quantile(ERROR, n - 1) * deviation * math.sqrt(1 + 1 / n) + math.log1p(floor)
    change = float(logs.mean()) - math.log(now.value)
    return exp(Estimate(change, change - half, change + half, n))


def _refusal(twin: StoredRow | None, row: Row, sessions: int) -> str:
    """Say why nothing can be claimed; "" if it can."""
    if twin is None:
        return "the baseline was not timed in this setup with these inputs; store it again"
    if twin.conditions.machine != row.conditions.machine:
        return (
            f"the baseline was stored on another machine ({_machine(twin.conditions)}; now "
            f"{_machine(row.conditions)}), and times of different machines are not compared"
        )
    if sessions < LEAST_SESSIONS:
        return (
            f"{sessions} steady stored session{'s' * (sessions != 1)}, {LEAST_SESSIONS} needed to "
            "know how much sessions on this machine differ; store the baseline more often"
        )
    return ""


def _alike(entries: Sequence[Entry], twin: StoredRow, rate_hz: float | None) -> list[Estimate]:
    """Return the latencies of all sessions that differ from the baseline's in nothing recorded."""
    return [
        row.latency_s
        for entry in entries
        for row in entry.rows
        if row.steady
        and entry.rate_hz == rate_hz
        and (row.content, row.conditions, row.batch) == (twin.content, twin.conditions, twin.batch)
        and row.inputs == twin.inputs
    ]


def _same_call(old: StoredRow, row: Row) -> bool:
    """Say whether both are the same call in the same setup, whatever versions and machines."""
    return (
        _setup(old.conditions) == _setup(row.conditions)
        and old.batch == row.batch
        and dict(old.inputs) == dict(row.inputs)
    )


def _setup(conditions: Conditions) -> tuple[object, ...]:
    c = conditions
    return (c.runtime.partition(" ")[0], c.provider, c.threads, c.streams, c.options)


def _machine(conditions: Conditions) -> str:
    c = conditions
    return ", ".join([c.device, c.cpu, c.os, *([c.governor] if c.governor else [])])


def _what_changed(twin: StoredRow, now: Conditions, *, equal: bool) -> str:
    words = [] if equal else [f"the stored file is {twin.not_kept} and was not kept"]
    words += differences(twin.conditions, now)
    return "; ".join(words)


def differences(then: Conditions, now: Conditions) -> list[str]:
    """Say what else than the machine differs."""
    pairs = [(then.runtime, now.runtime), (f"Python {then.python}", f"Python {now.python}")]
    return [f"{old} then, {new} now" for old, new in pairs if old != new]

"""Reasons to doubt a session and what to do about each; the energy, if it was counted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgekd.benchmarks.measurement import Measurement, ProcessRun, Sample, Session
from edgekd.benchmarks.stats.estimate import Estimate, exp, latency, student
from edgekd.benchmarks.stats.precision import narrow_enough

MOST_OTHERS = 0.1  # cores that other processes kept busy
MOST_STEAL = 0.02  # cores that the hypervisor gave to others
MOST_CLOCK = 0.05  # between the slow and the fast clock
MOST_OUTLIERS = 0.05  # of the calls
MOST_HARNESS = 0.01  # of a call
FAR = 3.0  # Tukey's outer fence, in quartile ranges


@dataclass(frozen=True)
class Doubt:
    """An observation, and what to do about it."""

    what: str
    advice: str


@dataclass(frozen=True)
class _Turn:
    """One block of one process, between two samples of the machine."""

    measurement: int
    run: int
    before: Sample  # the machine at the end of the block before
    own: Sample  # the process itself, at its sample before
    after: Sample

    @property
    def seconds(self) -> float:
        return self.after.at_s - self.before.at_s


def warnings(session: Session) -> tuple[Doubt, ...]:
    """Return what lessens the trust in a session; empty is good."""
    found = [*_load(session), *_clocks(session), *_calls(session)]
    precision = session.timing.precision
    if precision is not None and not narrow_enough(session, precision):
        asked = f"the intervals are wider than the requested +- {100 * precision:g} %"
        found.append(Doubt(asked, "give it more --time, or stop other work on the machine"))
    return tuple(found)


def energy_j(measurement: Measurement, session: Session) -> Estimate | None:
    """Return the joules of one inference above what the idle machine takes; None: not measured.

    The power above idle while it worked, times the seconds of a call; calls that run at the same
    time share it.
    """
    if session.idle is None:
        return None
    idle_w = _power_w(session.idle[0], session.idle[1])
    index = _index(measurement, session)
    joules: list[float] = []
    for run in range(len(measurement.runs)):
        turns = [t for t in _turns(session) if (t.measurement, t.run) == (index, run)]
        used = [_used_j(turn, idle_w) for turn in turns]
        seconds = sum(turn.seconds for turn in turns)
        if idle_w is None or not used or None in used or seconds <= 0:
            return None
        above_w = sum(u for u in used if u is not None) / seconds
        if above_w <= 0:
            return None  # less than the counter can distinguish from idle
        call_s = float(np.median(np.concatenate(measurement.runs[run].blocks_s)))
        joules.append(above_w * call_s / measurement.conditions.streams)
    return exp(student(np.log(joules)))


def _index(measurement: Measurement, session: Session) -> int:
    """Return the place of a measurement in its session; files may be equal, processes are not."""
    every = (*session.measurements, session.twin)
    return next(i for i, other in enumerate(every) if other is measurement)


def _power_w(before: Sample, after: Sample) -> float | None:
    if before.energy_j is None or after.energy_j is None or after.at_s <= before.at_s:
        return None
    return (after.energy_j - before.energy_j) / (after.at_s - before.at_s)


def _used_j(turn: _Turn, idle_w: float | None) -> float | None:
    start, end = turn.before.energy_j, turn.after.energy_j
    if start is None or end is None or idle_w is None:
        return None
    return end - start - idle_w * turn.seconds


def _turns(session: Session) -> Iterator[_Turn]:
    """Yield the blocks in time: within a round one follows the other, across processes."""
    every = (*session.measurements, session.twin)
    for number in range(len(session.twin.runs)):
        runs = [measurement.runs[number] for measurement in every]
        if any(len(run.samples) != len(run.blocks_s) + 1 for run in runs):
            continue
        yield from _of_round(number, runs)


def _of_round(number: int, runs: Sequence[ProcessRun]) -> Iterator[_Turn]:
    ready = max(run.samples[0].at_s for run in runs)  # until then some were still warming up
    blocks = [
        (after.at_s, index, own, after)
        for index, run in enumerate(runs)
        for own, after in zip(run.samples, run.samples[1:], strict=False)
    ]
    before: Sample | None = None
    for at_s, index, own, after in sorted(blocks, key=lambda block: block[0]):
        if before is not None and before.at_s >= ready and at_s > before.at_s:
            yield _Turn(index, number, before, own, after)
        before = after


def other_cores(session: Session) -> float | None:
    """Return how many cores other processes kept busy while it was timed; None: not known."""
    turns = list(_turns(session))
    seconds = sum(turn.seconds for turn in turns)
    busy_s = _total(turns, "busy_s")
    if busy_s is None or seconds <= 0:
        return None
    return (busy_s - sum(turn.after.own_s - turn.own.own_s for turn in turns)) / seconds


def _load(session: Session) -> Iterator[Doubt]:
    turns = list(_turns(session))
    seconds = sum(turn.seconds for turn in turns)
    if seconds <= 0:
        return
    cores = other_cores(session)
    if cores is not None and cores > MOST_OTHERS:
        yield Doubt(
            f"other processes kept {cores:.1f} cores busy while it was timed",
            "end them, or time it when the machine is free",
        )
    steal = _total(turns, "steal_s")
    if steal is not None and steal / seconds > MOST_STEAL:
        yield Doubt(
            f"the hypervisor kept {100 * steal / seconds:.0f} % of a core for other machines",
            "use a dedicated machine, or trust only comparisons, not absolute times",
        )


def _total(turns: Sequence[_Turn], counter: str) -> float | None:
    ends = [(getattr(turn.before, counter), getattr(turn.after, counter)) for turn in turns]
    if any(start is None or end is None for start, end in ends):
        return None
    return float(sum(end - start for start, end in ends))


def _clocks(session: Session) -> Iterator[Doubt]:
    governor = session.measurements[0].conditions.governor
    if governor not in (None, "performance"):
        yield Doubt(
            f"the clock governor is {governor}, which may change the clock at any time",
            "set it to performance while timing (cpupower frequency-set -g performance)",
        )
    every = (*session.measurements, session.twin)
    samples = [s for m in every for run in m.runs for s in run.samples[1:]]
    clocks = np.array([s.clock_hz for s in samples if s.clock_hz is not None])
    if len(clocks) > 1:
        low, high = np.quantile(clocks, [0.05, 0.95])
        if high / low - 1 > MOST_CLOCK:
            yield Doubt(
                f"the clock moved between {low / 1e9:.2f} and {high / 1e9:.2f} GHz",
                "fix it, or let the machine cool down between sessions",
            )


def _calls(session: Session) -> Iterator[Doubt]:
    every = (*session.measurements, session.twin)
    shares = [_outliers(run) for measurement in every for run in measurement.runs]
    share = float(np.mean(shares))
    if share > MOST_OUTLIERS:
        yield Doubt(
            f"{100 * share:.0f} % of the calls took much longer than the others",
            "look at p90, and check what else runs on the machine",
        )
    fastest = min(latency(measurement).value for measurement in session.measurements)
    harness = [run.harness_s for m in session.measurements for run in m.runs]
    part = float(np.median(harness)) / fastest
    if part > MOST_HARNESS:
        yield Doubt(
            f"the harness itself takes {1e9 * float(np.median(harness)):.0f} ns of a call, "
            f"{100 * part:.1f} % of the fastest",
            "subtract it when comparing such short calls with other tools",
        )


def _outliers(run: ProcessRun) -> float:
    """Return the share of calls above Tukey's outer fence of their process, on the log scale."""
    calls = np.log(np.concatenate(run.blocks_s))
    low, high = np.quantile(calls, [0.25, 0.75])
    return float(np.mean(calls > high + FAR * max(high - low, math.log1p(MOST_HARNESS))))

"""The session over time: block times, events and the state of the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.measurement import Measurement, Sample, Session
from edgekd.benchmarks.stats import Event, Steadiness
from edgekd.benchmarks.stats.blocks import Blocks, blocks_of
from edgekd.benchmarks.stats.compare import ratio

Floats = NDArray[np.float64]
LEAST = {"clock": 0.1, "temperature": 4.0}  # GHz, degrees
BINS = 120  # of a counter over the session


@dataclass(frozen=True)
class Marked:
    """An event with the number by which the page speaks of it; `at_s` since the start."""

    number: int
    event: Event
    at_s: float

    @property
    def label(self) -> str:
        """The text at its line."""
        return f"{self.number} {self.event.kind} {100 * self.event.size:+.0f} %"


@dataclass(frozen=True)
class Series:
    """Medians of blocks, a process after the other; seconds since the start of the session."""

    label: str
    about: str  # what the values are relative to
    at_s: Sequence[Floats]
    relative: Sequence[Floats]  # to the median of all: 0.1 is 10 % longer
    steady_from: int = 0  # the first block of each process after its warm-up
    events: tuple[Marked, ...] = ()


@dataclass(frozen=True)
class Counter:
    """A counter of the machine over the session."""

    label: str
    unit: str
    least: float  # that the axis spans: less is not worth showing
    at_s: Floats
    values: Floats


@dataclass
class Clock:
    """Seconds since the session's first sample, and the next number of an event."""

    start_s: float
    sampled: bool
    count: int = field(default=0)

    def mark(self, events: Sequence[Event], to: Callable[[float], float]) -> tuple[Marked, ...]:
        """Number events and place them."""
        found = []
        for event in events:
            self.count += 1
            found.append(Marked(self.count, event, to(event.at_s) - self.start_s))
        return tuple(found)


def clock_of(session: Session) -> Clock:
    """Return the clock of a session; without samples it counts the seconds of calls."""
    every = (*session.measurements, session.twin)
    sampled = all(len(r.samples) == len(r.blocks_s) + 1 for m in every for r in m.runs)
    start = min(r.samples[0].at_s for m in every for r in m.runs) if sampled else 0.0
    return Clock(start, sampled)


def of_latency(
    measured: Measurement, clock: Clock, *, label: str, about: str, found: Steadiness
) -> Series:
    """Return the blocks of a row, relative to the median of them all."""
    blocks = blocks_of(measured)
    events = clock.mark(found.events, lambda at_s: at_s)
    return _series(
        blocks, blocks.medians_s, clock, label=label, about=about, events=events, found=found
    )


def of_ratio(
    before: Measurement, after: Measurement, clock: Clock, *, label: str, found: Steadiness
) -> Series:
    """Return the blocks of a row over those of the reference that ran beside them."""
    blocks, ratios = blocks_of(after), blocks_of(ratio(before, after))

    def place(at_s: float) -> float:
        # Blocks of a ratio have no length of their own in seconds: an event names one of them.
        return float(blocks.start_s[int(np.argmin(np.abs(ratios.start_s - at_s)))])

    events = clock.mark(found.events, place)
    return _series(
        blocks, ratios.medians_s, clock, label=label, about="", events=events, found=found
    )


def _series(
    blocks: Blocks,
    values: Floats,
    clock: Clock,
    *,
    label: str,
    about: str,
    events: tuple[Marked, ...],
    found: Steadiness,
) -> Series:
    rows = [blocks.rows(process) for process in range(blocks.processes)]
    whole = float(np.median(values))
    return Series(
        label=label,
        about=about,
        at_s=[blocks.start_s[r] - clock.start_s for r in rows],
        relative=[values[r] / whole - 1 for r in rows],
        steady_from=found.steady_from,
        events=events,
    )


def counters(session: Session, clock: Clock) -> tuple[list[Counter], list[str]]:
    """Return the machine's clock, temperature and steal, and which of them were not measured."""
    every = (*session.measurements, session.twin)
    samples = sorted((s for m in every for r in m.runs for s in r.samples), key=lambda s: s.at_s)
    made = (
        ("clock", _level(samples, clock, "clock", "GHz", lambda s: s.clock_hz, 1e-9)),
        ("temperature", _level(samples, clock, "temperature", "°C", lambda s: s.temperature_c, 1)),
        ("steal time", _steal(samples, clock)),
    )
    return (
        [counter for _, counter in made if counter is not None],
        [name for name, counter in made if counter is None],
    )


def _level(
    samples: Sequence[Sample],
    clock: Clock,
    label: str,
    unit: str,
    value: Callable[[Sample], float | None],
    factor: float,
) -> Counter | None:
    found = [(s.at_s - clock.start_s, factor * v) for s in samples if (v := value(s)) is not None]
    if len(found) < 2:
        return None
    at_s, values = np.array(found).T
    edges = np.linspace(at_s[0], at_s[-1], BINS + 1)
    places = np.clip(np.digitize(at_s, edges) - 1, 0, BINS - 1)
    used = np.unique(places)
    return Counter(
        label,
        unit,
        LEAST[label],
        np.array([at_s[places == i].mean() for i in used]),
        np.array([np.median(values[places == i]) for i in used]),
    )


def _steal(samples: Sequence[Sample], clock: Clock) -> Counter | None:
    found = [(s.at_s - clock.start_s, s.steal_s) for s in samples if s.steal_s is not None]
    if len(found) < 2 or found[-1][0] <= found[0][0]:
        return None
    at_s, counted = np.array(found, np.float64).T
    edges = np.linspace(at_s[0], at_s[-1], BINS // 2 + 1)
    stolen = np.diff(np.interp(edges, at_s, counted)) / np.diff(edges)
    return Counter("steal time", "% of a core", 2.0, (edges[:-1] + edges[1:]) / 2, 100 * stolen)

"""The session over time: what each block took, what happened, and the machine beneath it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.measurement import Measurement, Sample, Session
from edgekd.benchmarks.statistics import Event, Steadiness
from edgekd.benchmarks.statistics.blocks import Blocks, blocks_of
from edgekd.benchmarks.statistics.compare import ratio
from edgekd.report.bench_charts import EDGE, WIDE, shortened
from edgekd.report.svg import (
    LINE,
    Box,
    Scale,
    both_widths,
    element,
    line,
    rect,
    svg,
    text,
    text_width,
)

Floats = NDArray[np.float64]
LEAST = {"clock": 0.1, "temperature": 4.0}  # GHz, degrees
BINS = 120  # of a counter over the session
GUTTER = 52.0  # left of the plots


@dataclass(frozen=True)
class Marked:
    """An event with the number by which the page speaks of it; `at_s` since the start."""

    number: int
    event: Event
    at_s: float

    @property
    def label(self) -> str:
        """What stands at its line."""
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
    least: float  # that the axis spans: less is no change worth a look
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


def over_time(series: Sequence[Series], machine: Sequence[Counter], *, axis: str) -> str:
    """Return a panel for every series and below them one for every counter, over one clock.

    Args:
        series: at least one.
        machine: those counters that were there.
        axis: what the clock counts.
    """
    return both_widths(lambda width: _OverTime(series, machine, axis, width).draw())


@dataclass(frozen=True)
class _OverTime:
    series: Sequence[Series]
    machine: Sequence[Counter]
    axis: str
    width: float
    height: float = 92  # of a panel

    def draw(self) -> str:
        x, top, parts, said = self._x(), 0.0, list[str](), list[str]()
        low, high = self._span()
        for one in self.series:
            lanes = self._lanes(one.events, x)
            start = top + 24 + LINE * (max((lane for *_, lane in lanes), default=-1) + 1)
            y = Scale(low, high, start + self.height, start + 4)
            parts += self._panel(one, x, y, top)
            parts += [part for lane in lanes for part in self._event(*lane, top, start)]
            said.append(one.label + ("" if one.events else ", no event"))
            said += [f"{mark.label} at {mark.at_s:.1f} s" for mark in one.events]
            top = start + self.height + 14
        for counter in self.machine:
            parts += self._counter(counter, x, top)
            top += 24 + 0.6 * self.height + 14
        parts += self._clock(x, top - 8)
        label = "Block medians over the session: " + "; ".join(said)
        return svg(self.width, top + 36, label, parts)

    def _x(self) -> Scale:
        ends = [float(at_s.max()) for one in self.series for at_s in one.at_s]
        return Scale(0, max(*ends, 1e-9), GUTTER, self.width - EDGE)

    def _span(self) -> tuple[float, float]:
        """Return what all panels show: every process's median, and the most of the blocks.

        A few blocks that other work made many times as long would press all others flat: those
        beyond lie on the edge and are counted.
        """
        low, high = -0.02, 0.02
        for one in self.series:
            tenth, last = np.percentile(np.concatenate(one.relative), [10, 90])
            levels = [float(np.median(values)) for values in one.relative]
            reach = 0.75 * float(last - tenth)
            low = min(low, float(tenth) - reach, min(levels) - 0.5 * reach)
            high = max(high, float(last) + reach, max(levels) + 0.5 * reach)
        return max(low, -1.0), high

    def _panel(self, one: Series, x: Scale, y: Scale, top: float) -> list[str]:
        parts = []
        for i, (at_s, _) in enumerate(zip(one.at_s, one.relative, strict=True)):
            if i % 2:  # every second process has a ground of its own
                left, right = x(float(at_s.min())), x(float(at_s.max()))
                parts.append(rect(Box(left - 1, y.end, right + 1, y.start), "ground"))
        for value in y.ticks(4):
            kind = "axis" if value == 0 else "grid"
            parts.append(line(x.start, y(value), x.end, y(value), kind))
            words = f"{100 * value:+.3g} %" if value else "0"
            parts.append(text(words, x.start - 6, y(value) + 4, "tick", anchor="end"))
        for i, (at_s, values) in enumerate(zip(one.at_s, one.relative, strict=True)):
            parts += _dots(at_s, values, x, y, f"dots {'odd' if i % 2 else 'even'}", one)
        beyond = sum(int(((v < y.low) | (v > y.high)).sum()) for v in one.relative)
        counted = f"{beyond} beyond" if beyond else ""
        about = ", ".join(said for said in (one.about, counted) if said)
        room = self.width - text_width(about) - 24
        return [
            *parts,
            text(shortened(one.label, room), EDGE, top + 15, "row", anchor="start"),
            text(about, self.width - EDGE, top + 15, "tick", anchor="end"),
        ]

    def _lanes(self, events: Sequence[Marked], x: Scale) -> list[tuple[Marked, float, str, int]]:
        """Give each label a line of its own where it would touch another."""
        taken: list[list[tuple[float, float]]] = []
        found = []
        for mark in events:
            at, width = min(max(x(mark.at_s), x.start), x.end), text_width(mark.label) + 8
            anchor = "start" if at + width < self.width else "end"
            left, right = (at, at + width) if anchor == "start" else (at - width, at)
            lane = 0
            while lane < len(taken) and any(left < b and a < right for a, b in taken[lane]):
                lane += 1
            taken += [[]] if lane == len(taken) else []
            taken[lane].append((left, right))
            found.append((mark, at, anchor, lane))
        return found

    def _event(
        self, mark: Marked, at: float, anchor: str, lane: int, top: float, start: float
    ) -> list[str]:
        y = top + 24 + LINE * lane
        kind = mark.event.kind.replace(" ", "-")
        side = 4 if anchor == "start" else -4
        return [
            line(at, y, at, start + self.height, f"event {kind}"),
            text(mark.label, at + side, y + 11, f"event-text {kind}", anchor=anchor),
        ]

    def _counter(self, one: Counter, x: Scale, top: float) -> list[str]:
        low, high = float(one.values.min()), float(one.values.max())
        if high - low < one.least:
            low, high = max(0.0, (low + high - one.least) / 2), (low + high + one.least) / 2
        y = Scale(low, high, top + 24 + 0.6 * self.height, top + 28)
        parts = [text(f"{one.label}, {one.unit}", EDGE, top + 15, "row", anchor="start")]
        for value in (low, high):
            parts.append(line(x.start, y(value), x.end, y(value), "grid"))
            parts.append(text(f"{value:.3g}", x.start - 6, y(value) + 4, "tick", anchor="end"))
        corners = [f"{x(a):.1f},{y(v):.1f}" for a, v in zip(one.at_s, one.values, strict=True)]
        return [*parts, element("polyline", class_="counter", points=" ".join(corners))]

    def _clock(self, x: Scale, bottom: float) -> list[str]:
        parts = [line(x.start, bottom, x.end, bottom, "axis")]
        for value in x.ticks(8 if self.width > WIDE else 5):
            parts.append(line(x(value), bottom, x(value), bottom + 5, "axis"))
            parts.append(text(f"{value:g}", x(value), bottom + 20, "tick"))
        return [*parts, text(self.axis, (x.start + x.end) / 2, bottom + 39, "title")]


def _dots(at_s: Floats, values: Floats, x: Scale, y: Scale, kind: str, one: Series) -> list[str]:
    """Return a point for each block, and a line at their median; those outside lie on the edge."""
    parts = []
    settled = np.arange(len(values)) >= one.steady_from
    outside = (values < y.low) | (values > y.high)
    for name, those in (
        (f"{kind} warming", ~settled & ~outside),
        (kind, settled & ~outside),
        ("dots beyond", outside),
    ):
        shown = np.clip(values[those], y.low, y.high)
        path = "".join(f"M{x(a):.1f},{y(v):.1f}h0" for a, v in zip(at_s[those], shown, strict=True))
        if path:
            parts.append(element("path", class_=name, d=path))
    level = min(max(float(np.median(values[one.steady_from :])), y.low), y.high)
    return [*parts, line(x(float(at_s[0])), y(level), x(float(at_s[-1])), y(level), "level")]

"""The charts of `edgekd bench` that need no clock: speed-ups, single calls, parts end to end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.statistics import Estimate
from edgekd.benchmarks.table import times
from edgekd.report.ridges import outline, rug, short
from edgekd.report.svg import (
    FONT_SIZE,
    LOG_FROM,
    Box,
    Scale,
    both_widths,
    element,
    line,
    rect,
    svg,
    text,
    text_width,
    time_unit,
)

Floats = NDArray[np.float64]
WIDE = 500  # a chart above it is for a desk
EDGE = 6.0
TOGETHER = 8.0
SPREAD = 2.5  # the axis of single calls is logarithmic beyond it: a tail would press the rest flat
NAMES = 0.34  # of the width, at most
NEAR = 3.0  # the time to the next call is on the axis where it is not farther than that
FAR = 10.0  # an interval is drawn to this ratio from the extreme values, and no further


@dataclass(frozen=True)
class Speedup:
    """One interval of the comparison; `kind` is also its class in the style sheet."""

    label: str
    ratio: Estimate
    kind: str  # faster | slower | no-difference | no-steady-state | throttled | twin
    words: str


@dataclass(frozen=True)
class Calls:
    """All calls of one row, an array per process, with the figures that are marked."""

    label: str
    processes: Sequence[Floats]
    median_s: float
    p90_s: float | None  # None: not marked


def shortened(words: str, width: float) -> str:
    """Cut the middle out of a text that is wider than so many user units."""
    fits = int(width / text_width("x"))
    if len(words) <= fits:
        return words
    tail = max(1, (fits - 1) // 2)
    return f"{words[: max(1, fits - 1 - tail)]}…{words[-tail:]}"


def comparison(rows: Sequence[Speedup], *, reference: str, floor: float) -> str:
    """Return the intervals on a logarithmic axis, with the line at 1 and the A/A floor as a band.

    Args:
        rows: in the order of the table.
        reference: what 1 stands for.
        floor: relative; the band reaches from 1 / (1 + floor) to 1 + floor.
    """
    return both_widths(lambda width: _Comparison(rows, reference, floor, width).draw())


@dataclass(frozen=True)
class _Comparison:
    rows: Sequence[Speedup]
    reference: str
    floor: float
    width: float
    top: float = 24

    @property
    def desk(self) -> bool:
        """Whether names and figures stand left of the plot; else above each interval."""
        return self.width > WIDE

    @property
    def row_height(self) -> float:
        return 48 if self.desk else 72

    def draw(self) -> str:
        x, bottom = self.axis(), self.top + len(self.rows) * self.row_height + 4
        feet = [self.top + (i + 1) * self.row_height - 14 for i in range(len(self.rows))]
        # On a phone nothing runs through the words between the rows.
        spans = [(self.top, bottom)] if self.desk else [(y - 12, y + 12) for y in feet]
        parts = [part for span in spans for part in self._ground(x, *span)]
        parts += self._axis_words(x, bottom)
        for row, y in zip(self.rows, feet, strict=True):
            parts += self._words(row, y) + _bar(row, x, y)
        said = "; ".join(f"{row.label} {times(row.ratio)} {row.words}" for row in self.rows)
        label = f"Speed against {self.reference}, with 95 % intervals: {said}. "
        label += f"The A/A floor is {100 * self.floor:.1f} %."
        return svg(self.width, bottom + 44, label, parts)

    def axis(self) -> Scale:
        """Return the axis: all intervals, the line at 1 and the band lie inside."""
        values = [row.ratio.value for row in self.rows]
        lowest, highest = min(values, default=1) / FAR, max(values, default=1) * FAR
        ends = [1 / (1 + self.floor) ** 3, (1 + self.floor) ** 3]
        for row in self.rows:
            ends += [max(row.ratio.low, lowest), min(row.ratio.high, highest)]
        pad = (max(ends) / min(ends)) ** 0.06
        left, right = EDGE, self.width - EDGE
        if self.desk:
            widths = [text_width(words) for r in self.rows for words in (r.label, _figures(r))]
            left += min(max(widths), NAMES * self.width) + 16
        return Scale(min(ends) / pad, max(ends) * pad, left, right, log=True)

    def _ground(self, x: Scale, top: float, bottom: float) -> list[str]:
        band = Box(x(1 / (1 + self.floor)), top, x(1 + self.floor), bottom)
        grid = [line(x(value), top, x(value), bottom, "grid") for value in self._ticks(x)]
        return [rect(band, "floor"), *grid, line(x(1), top, x(1), bottom, "one")]

    def _ticks(self, x: Scale) -> list[float]:
        wanted = 6 if self.desk else 4
        even = Scale(x.low, x.high, 0, 1, log=x.high / x.low > LOG_FROM)
        values = [value for value in even.ticks(wanted) if value > 0]
        nearest = min((abs(x(value) - x(1)) for value in values), default=math.inf)
        return [*values, 1.0] if nearest > text_width("1.00x") else values

    def _axis_words(self, x: Scale, bottom: float) -> list[str]:
        parts = [line(x.start, bottom, x.end, bottom, "axis")]
        for value in self._ticks(x):
            if 16 < x(value) < self.width - 16:
                parts.append(text(f"{value:g}x", x(value), bottom + 18, "tick"))
        for words, side, anchor in (("← slower", -1, "end"), ("faster →", 1, "start")):
            at = x(1) + 8 * side
            if EDGE < at + side * text_width(words) < self.width - EDGE:
                parts.append(text(words, at, 15, "title", anchor=anchor))
        room = self.width - text_width("speed against , log scale")
        title = f"speed against {shortened(self.reference, room)}, log scale"
        middle = min(max((x.start + x.end) / 2, text_width(title) / 2), self.width / 2)
        middle = (x.start + x.end) / 2 if text_width(title) < x.end - x.start else middle
        return [*parts, text(title, middle, bottom + 38, "title")]

    def _words(self, row: Speedup, y: float) -> list[str]:
        room, foot = (NAMES * self.width, y - 3) if self.desk else (self.width - 12, y - 35)
        name = shortened(row.label, room)
        return [
            text(name, EDGE, foot, "row", anchor="start"),
            text(_figures(row), EDGE, foot + 17, f"figures {row.kind}", anchor="start"),
        ]


def _figures(row: Speedup) -> str:
    return f"{times(row.ratio)} {row.words}".strip()


def _bar(row: Speedup, x: Scale, y: float) -> list[str]:
    """Return the interval with its ends and its value; an end beyond the axis has none."""
    low, high = max(row.ratio.low, x.low), min(row.ratio.high, x.high)
    parts = [line(x(low), y, x(high), y, f"bar {row.kind}")]
    for end, inside in ((low, row.ratio.low >= x.low), (high, row.ratio.high <= x.high)):
        if inside:
            parts.append(line(x(end), y - 4, x(end), y + 4, f"bar end {row.kind}"))
    spot = element("circle", class_=f"mark {row.kind}", cx=x(row.ratio.value), cy=y, r=5)
    return [*parts, spot]


def distributions(rows: Sequence[Calls], *, period_s: float | None) -> str:
    """Return a ridge of all calls for every row, and below it a line for every process.

    Rows whose medians lie within a ratio of `TOGETHER` stand on one axis, others each on their own.

    Args:
        rows: in the order of the table.
        period_s: from one call to the next at a fixed rate, which is drawn; None: none.
    """
    return both_widths(lambda width: _Distributions(rows, period_s, width).draw())


@dataclass(frozen=True)
class _Distributions:
    rows: Sequence[Calls]
    period_s: float | None
    width: float
    ridge: float = 40
    joined: Sequence[Floats] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "joined", [np.concatenate(row.processes) for row in self.rows])

    def draw(self) -> str:
        shared = self._axis(self.joined)
        medians = [row.median_s for row in self.rows]
        together = max(medians) / min(medians) <= TOGETHER
        parts: list[str] = []
        y = 4.0
        for row, calls in zip(self.rows, self.joined, strict=True):
            x = shared if together else self._axis([calls])
            strip = min(6.0, max(1.5, 60 / len(row.processes)))
            height = 24 + self.ridge + 12 + strip * len(row.processes)
            parts += self._ticks(x, y + 22, y + height, words=not together)
            parts += self._row(row, calls, x, y + 24 + self.ridge)
            parts += self._processes(row, x, y + 24 + self.ridge + 12, strip)
            y += height + (16 if together else 42)
        if together:
            parts += self._ticks(shared, y - 10, y - 10, words=True)
            title = f"time of one call{', log scale' if shared.log else ''}"
            parts.append(text(title, self.width / 2, y + 30, "title"))
            y += 32
        names = "; ".join(f"{row.label}: median {self._time(row.median_s)}" for row in self.rows)
        return svg(self.width, y + 8, f"How the times of single calls are spread. {names}", parts)

    def _axis(self, several: Sequence[Floats]) -> Scale:
        """Return an axis that leaves out only the slowest calls: one in two hundred of a row."""
        low = min(float(calls.min()) for calls in several)
        high = max(float(np.percentile(calls, 99.5)) for calls in several)
        if self.period_s is not None and low / NEAR < self.period_s < NEAR * high:
            low, high = min(low, self.period_s), max(high, self.period_s)
        log = high / low > SPREAD
        pad = (high / low) ** 0.03 if log else 0.04 * (high - low) or 0.1 * high
        low, high = (low / pad, high * pad) if log else (low - pad, high + pad)
        return Scale(low, high, EDGE, self.width - EDGE, log)

    def _ticks(self, x: Scale, top: float, bottom: float, *, words: bool) -> list[str]:
        factor, unit = time_unit([x.high])
        shown = Scale(x.low * factor, x.high * factor, x.start, x.end, x.log)
        parts = [line(x.start, bottom, x.end, bottom, "axis")] if words else []
        for value in shown.ticks(7 if self.width > WIDE else 4):
            at = shown(value)
            if bottom > top:
                parts.append(line(at, top, at, bottom, "grid"))
            if words and 24 < at < self.width - 24:
                parts.append(text(f"{value:g} {unit}", at, bottom + 18, "tick"))
        if self.period_s is not None and bottom > top:
            parts += self._due(self.period_s, x, top, bottom)
        return parts

    def _due(self, period_s: float, x: Scale, top: float, bottom: float) -> list[str]:
        """Return where the next call is due, or on which side of the axis."""
        if not x.low < period_s < x.high:
            late = period_s > x.high
            words = f"next call due at {self._time(period_s)}"
            words, at = (f"{words} →", x.end) if late else (f"← {words}", x.start)
            return [text(words, at, top + 12, "limit-text", anchor="end" if late else "start")]
        at = x(period_s)
        side, anchor = (-5, "end") if at > self.width / 2 else (5, "start")
        words = text("next call due", at + side, top + 12, "limit-text", anchor=anchor)
        return [line(at, top, at, bottom, "limit"), words]

    def _row(self, row: Calls, calls: Floats, x: Scale, base: float) -> list[str]:
        figures = f"median {self._time(row.median_s)}"
        if row.p90_s is not None and self.width > WIDE:
            figures += f", p90 {self._time(row.p90_s)}"
        room = self.width - text_width(figures) - 24
        top, beyond = base - self.ridge, int((calls > x.high).sum())
        drawn = outline(calls, x, base=base, height=self.ridge, width=self.width)
        parts = [
            element("path", class_="ridge", d=drawn),
            line(x(row.median_s), top, x(row.median_s), base, "median"),
            text(shortened(row.label, room), EDGE, top - 10, "row", anchor="start"),
            text(figures, self.width - EDGE, top - 10, "tick", anchor="end"),
        ]
        if row.p90_s is not None:
            p90 = x(min(row.p90_s, x.high))
            slow = rug(calls[calls > row.p90_s], x, base=base)
            parts += [line(p90, top, p90, base, "p90"), element("path", class_="rug", d=slow)]
        if beyond:
            words = f"{beyond:,} slower →"
            parts.append(text(words, self.width - EDGE, base - 12, "tick", anchor="end"))
        return parts

    def _processes(self, row: Calls, x: Scale, top: float, strip: float) -> list[str]:
        lines, spots = [], []
        for i, calls in enumerate(row.processes):
            low, median, high = (
                x(min(float(v), x.high)) for v in np.percentile(calls, [10, 50, 90])
            )
            y = top + (i + 0.5) * strip
            lines.append(f"M{low:.1f},{y:.1f}H{high:.1f}")
            spots.append(f"M{median:.1f},{y:.1f}h0")
        thin, thick = max(1.0, strip / 4), max(2.0, 0.8 * strip)
        return [
            element("path", class_="process", d="".join(lines), stroke_width=thin),
            element("path", class_="process-median", d="".join(spots), stroke_width=thick),
        ]

    def _time(self, seconds: float) -> str:
        factor, unit = time_unit([seconds])
        return f"{short(seconds * factor)} {unit}"


def parts_bars(rows: Sequence[tuple[str, Mapping[str, Estimate]]]) -> str:
    """Return a bar for every row, made of the median seconds of its parts."""
    return both_widths(lambda width: _parts(rows, width))


def _parts(rows: Sequence[tuple[str, Mapping[str, Estimate]]], width: float) -> str:
    sums = [sum(part.value for part in parts.values()) for _, parts in rows]
    x = Scale(0, max(sums), EDGE, width - EDGE)
    drawn, said, y = [], [], 0.0
    for (label, parts), whole in zip(rows, sums, strict=True):
        factor, unit = time_unit([whole])
        total = f"{short(whole * factor)} {unit}"
        room = width - text_width(total) - 24
        drawn.append(text(shortened(label, room), EDGE, y + 16, "row", anchor="start"))
        drawn.append(text(total, width - EDGE, y + 16, "tick", anchor="end"))
        at = 0.0
        for name, part in parts.items():
            left, right = x(at), x(at + part.value)
            drawn.append(rect(Box(left, y + 24, right, y + 46), f"part {_class(name)}"))
            share = f"{100 * part.value / whole:.0f} %"
            if right - left > text_width(share) + 8:
                middle = (left + right) / 2
                drawn.append(text(share, middle, y + 35 + FONT_SIZE / 3, "share"))
            at += part.value
        listed = ", ".join(
            f"{n.replace('_', ' ')} {p.value * factor:.3g}" for n, p in parts.items()
        )
        said.append(f"{label}: {listed} {unit}, in all {total}")
        y += 62
    return svg(width, y, "An inference end to end. " + "; ".join(said), drawn)


def _class(name: str) -> str:
    return name.replace("_", "-")

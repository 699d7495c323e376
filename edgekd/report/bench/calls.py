"""The chart of single calls of `edgekd bench`: a ridge for each row, a line for each process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgekd.report.bench.charts import EDGE, WIDE, shortened
from edgekd.report.charts.ridges import outline, rug, short
from edgekd.report.charts.svg import (
    Scale,
    both_widths,
    element,
    line,
    svg,
    text,
    text_width,
    time_unit,
)

Floats = NDArray[np.float64]
TOGETHER = 8.0
SPREAD = 2.5  # the axis of single calls is logarithmic beyond it: a tail would press the rest flat
NEAR = 3.0  # the time to the next call is on the axis where it is not farther than that


@dataclass(frozen=True)
class Calls:
    """All calls of one row, an array per process, with the figures that are marked."""

    label: str
    processes: Sequence[Floats]
    median_s: float
    p90_s: float | None  # None: not marked


def distributions(rows: Sequence[Calls], *, period_s: float | None) -> str:
    """Return a ridge of all calls for every row, and below it a line for every process.

    Rows whose medians are within a ratio of `TOGETHER` share an axis, others have their own.

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

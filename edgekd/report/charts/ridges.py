"""The chart of single calls, from the record: a ridge for every file of the last session."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgekd.evaluation.record import Record
from edgekd.evaluation.results import Calls, Finalist
from edgekd.report.charts.svg import (
    LOG_FROM,
    Scale,
    both_widths,
    element,
    line,
    svg,
    text,
    time_unit,
)


def latency_distributions(record: Record) -> str | None:
    """Return a ridge of calls for every finalist, or None where nothing was timed."""
    files = {(file.title, file.label): file for file in record.final.files}
    rows = [
        (replace(calls, label=record.shown_label(file)), file)
        for calls in record.calls
        for file in [files[calls.title, calls.label]]
        if calls.seconds
    ]
    if not rows:
        return None
    return both_widths(lambda width: _Ridges(rows, record.ships, width).draw())


_KERNEL = np.array([1, 4, 6, 4, 1]) / 16


@dataclass(frozen=True)
class _Ridges:
    rows: Sequence[tuple[Calls, Finalist]]
    ships: Finalist
    width: float
    row_height: float = 78
    ridge: float = 38

    def draw(self) -> str:
        x = self._x()
        bottom = len(self.rows) * self.row_height + 6
        parts = self._axis(x, bottom)
        for i, (calls, file) in enumerate(self.rows):
            parts += self._row(calls, file, x, (i + 1) * self.row_height - 14)
        names = ", ".join(f"{calls.title} {calls.label}" for calls, _ in self.rows)
        label = f"How the seconds of single calls are spread, for {names}"
        return svg(self.width, bottom + 44, label, parts)

    def _x(self) -> Scale:
        """Return an axis that leaves out only the slowest calls: one in two hundred of a file."""
        low = min(min(calls.seconds) for calls, _ in self.rows)
        high = max(float(np.percentile(calls.seconds, 99.5)) for calls, _ in self.rows)
        log = high / low > LOG_FROM
        pad = (high / low) ** 0.03 if log else 0.04 * (high - low) or 0.1 * high
        low, high = (low / pad, high * pad) if log else (low - pad, high + pad)
        return Scale(low, high, 6, self.width - 6, log)

    def _axis(self, x: Scale, bottom: float) -> list[str]:
        factor, unit = time_unit([x.high])
        shown = Scale(x.low * factor, x.high * factor, x.start, x.end, x.log)
        parts = []
        for value in shown.ticks(7 if self.width > 500 else 5):
            at = shown(value)
            parts.append(line(at, 4, at, bottom, "grid"))
            parts.append(text(f"{value:g}", min(max(at, 14), self.width - 14), bottom + 18, "tick"))
        parts.append(line(x.start, bottom, x.end, bottom, "axis"))
        scale = ", log scale" if x.log else ""
        return [
            *parts,
            text(f"time of one call, {unit}{scale}", self.width / 2, bottom + 38, "title"),
        ]

    def _row(self, calls: Calls, file: Finalist, x: Scale, base: float) -> list[str]:
        assert file.latency_s is not None, "its calls were timed"
        assert file.p90_s is not None, "its calls were timed"
        seconds = np.asarray(calls.seconds, np.float64)
        kind = "ridge ships" if file is self.ships else "ridge"
        median, p90 = file.latency_s.value, file.p90_s.value
        top = base - self.ridge
        factor, unit = time_unit([median])
        figures = f"median {short(median * factor)}, p90 {short(p90 * factor)} {unit}"
        beyond = int((seconds > x.high).sum())
        drawn = outline(seconds, x, base=base, height=self.ridge, width=self.width)
        parts = [
            element("path", class_=kind, d=drawn),
            element("path", class_="rug", d=rug(seconds[seconds > p90], x, base=base)),
            line(x(median), top, x(median), base, "median"),
            line(x(min(p90, x.high)), top, x(min(p90, x.high)), base, "p90"),
            text(f"{calls.title} {calls.label}", 6, top - 8, "row", anchor="start"),
            text(figures, self.width - 6, top - 8, "tick", anchor="end"),
        ]
        if beyond:
            words = f"{beyond} slower →"
            parts.append(text(words, self.width - 6, base - 12, "tick", anchor="end"))
        return parts


def outline(
    seconds: NDArray[np.float64], x: Scale, *, base: float, height: float, width: float
) -> str:
    """Return a smoothed histogram over the places on the axis; every ridge is equally high.

    Args:
        seconds: of single calls; those beyond the axis are left out.
        x: the axis.
        base: the y of its foot.
        height: of its highest place.
        width: of the chart: a bin is three user units.
    """
    bins = int(width / 3)
    at = np.array([x(s) for s in seconds[seconds <= x.high]])
    counts, edges = np.histogram(at, bins=bins, range=(x.start, x.end))
    smooth = np.convolve(counts, _KERNEL, "same")
    heights = smooth / max(float(smooth.max()), 1e-12) * height
    middles = (edges[:-1] + edges[1:]) / 2
    seen = np.flatnonzero(heights > 0)
    first, last = max(0, seen[0] - 1), min(bins, seen[-1] + 2)
    corners = [f"{a:.1f},{base - h:.1f}" for a, h in zip(middles, heights, strict=True)]
    line = "L".join(corners[first:last])
    return f"M{middles[first]:.1f},{base:.1f}L{line}L{middles[last - 1]:.1f},{base:.1f}Z"


def rug(slow: NDArray[np.float64], x: Scale, *, base: float) -> str:
    """Return a small line below the ridge for each place where a slow call lies."""
    places = sorted({f"{x(s):.1f}" for s in slow if s <= x.high}, key=float)
    return "".join(f"M{place},{base + 2:.1f}v6" for place in places) or f"M0,{base:.1f}"


def short(value: float) -> str:
    """Three significant digits, never an exponent."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"

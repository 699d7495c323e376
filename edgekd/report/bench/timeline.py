"""The time chart of a session of `edgekd bench`: blocks, events and the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.report.bench.charts import EDGE, WIDE, shortened
from edgekd.report.bench.series import Counter, Marked, Series
from edgekd.report.charts.svg import (
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
GUTTER = 52.0  # left of the plots


def draw_timeline(series: Sequence[Series], machine: Sequence[Counter], *, axis: str) -> str:
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

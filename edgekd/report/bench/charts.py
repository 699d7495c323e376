"""Charts of `edgekd bench` without a time axis: speed-ups, and parts end to end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekd.benchmarks.formatting import times
from edgekd.benchmarks.stats import Estimate
from edgekd.report.charts.ridges import short
from edgekd.report.charts.svg import (
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

WIDE = 500  # a chart above it is for a desk
EDGE = 6.0
NAMES = 0.34  # of the width, at most
FAR = 10.0  # an interval is drawn to this ratio from the extreme values, and no further


@dataclass(frozen=True)
class Speedup:
    """One interval of the comparison; `kind` is also its class in the style sheet."""

    label: str
    ratio: Estimate
    kind: str  # faster | slower | no-difference | no-steady-state | throttled | twin
    words: str


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
        reference: the row whose speed is 1.
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
        """Whether names and figures are left of the plot; else above each interval."""
        return self.width > WIDE

    @property
    def row_height(self) -> float:
        return 48 if self.desk else 72

    def draw(self) -> str:
        x, bottom = self.axis(), self.top + len(self.rows) * self.row_height + 4
        feet = [self.top + (i + 1) * self.row_height - 14 for i in range(len(self.rows))]
        # On a phone, no line crosses the text between the rows.
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

"""The chart of quality against latency, from the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.gate import FLOOR_METRICS
from edgekd.evaluation.record import Record
from edgekd.report.charts.svg import (
    LOG_FROM,
    Box,
    Scale,
    both_widths,
    element,
    line,
    place,
    svg,
    text,
    text_width,
    time_unit,
)

RADIUS = 5.5


@dataclass(frozen=True)
class Point:
    """One file: where it lies and how it is drawn."""

    name: str
    kind: str  # kept | rolled | preview: also its class in the style sheet
    ships: bool
    quality: Estimate
    latency: Estimate
    series: str = ""  # of several runs: the class of this one, whose points are joined


def quality_against_latency(record: Record) -> str | None:
    """Return the stages as points with 95 % bars, or None where no latency was measured."""
    points = _points(record)
    if not points:
        return None
    metric, budget = record.metric, record.budget
    sign = -1 if metric.better == "higher" else 1
    floor = points[0].quality.value + sign * budget.max_drop
    if record.is_against_teacher:  # the teacher has no place on this axis
        points = [point for point in points if point.name != record.rungs[0].title]
        floor = next((v for k, v in budget.floors.items() if FLOOR_METRICS[k] == metric.name), 0.0)
        if not points:
            return None
    title = f"validation {metric.title}"
    return both_widths(
        lambda width: Scatter(points, title, floor, budget.max_latency_s, width).draw()
    )


def _points(record: Record) -> list[Point]:
    name, found = record.metric.name, []
    for rung in record.rungs:
        shown = [
            (rung.name_of(file), "kept" if ruling.kept else "rolled", file)
            for file, _, ruling in rung.judged
        ]
        shown += [(shown[0][0], "preview", file) for file in rung.files if file.preview]
        for title, kind, file in shown:
            if file.latency_s is not None:
                ships = kind != "preview" and record.is_shipped(rung, file)
                found.append(Point(title, kind, ships, file.metrics[name], file.latency_s))
    return sorted(found, key=lambda p: p.kind == "preview")  # the teacher stays first


@dataclass(frozen=True)
class Scatter:
    """Points of quality and latency, with intervals and budget, at one width."""

    points: Sequence[Point]
    title: str
    floor: float | None
    """The least quality that is allowed; None: not drawn."""
    asked: float | None
    """The largest latency, in seconds."""
    width: float

    @property
    def frame(self) -> Box:
        """Return where the points lie, inside the axes."""
        return Box(44, 28, self.width - 12, (400 if self.width > 500 else 340) - 44)

    def draw(self) -> str:
        """Return the image."""
        x, y = self._x(), self._y()
        own = [p for p in self.points if p.kind != "preview"]
        stages = ", ".join(f"{p.name} {p.quality.value:.1f}" for p in own)
        limits, words = self._limits(x, y)
        parts = [*self._axes(x, y), *limits, *self._paths(x, y)]
        for point in reversed(self.points):
            parts += self._mark(point, x, y)
        parts += self._labels(own, words, x, y)
        label = f"{self.title} against median latency, a point for each stage: {stages}"
        return svg(self.width, self.frame.bottom + 44, label, parts)

    def _x(self) -> Scale:
        ends = [end for p in self.points for end in (p.latency.low, p.latency.high)]
        if self.asked is not None and min(ends) / 3 < self.asked < max(ends) * 3:
            ends.append(self.asked)
        low, high = min(ends), max(ends)
        log = high / low > LOG_FROM
        pad = (high / low) ** 0.07 if log else max(0.1 * (high - low), 0.02 * high)
        low, high = (low / pad, high * pad) if log else (max(0.0, low - pad), high + pad)
        return Scale(low, high, self.frame.left, self.frame.right, log)

    def _y(self) -> Scale:
        ends = [end for p in self.points for end in (p.quality.low, p.quality.high)]
        near = (min(ends) - (max(ends) - min(ends)), 2 * max(ends) - min(ends))
        if self.floor is not None and near[0] < self.floor < near[1]:
            ends.append(self.floor)
        pad = 0.08 * (max(ends) - min(ends)) or 1.0
        return Scale(min(ends) - pad, max(ends) + pad, self.frame.bottom, self.frame.top)

    def _axes(self, x: Scale, y: Scale) -> list[str]:
        box = self.frame
        factor, unit = time_unit([x.high])
        parts = []
        for value in y.ticks(5):
            parts.append(line(box.left, y(value), box.right, y(value), "grid"))
            parts.append(text(f"{value:g}", box.left - 8, y(value) + 4, "tick", anchor="end"))
        shown = Scale(x.low * factor, x.high * factor, x.start, x.end, x.log)
        for value in shown.ticks(7 if self.width > 500 else 4):
            parts.append(line(shown(value), box.bottom, shown(value), box.bottom + 5, "axis"))
            parts.append(text(f"{value:g}", shown(value), box.bottom + 20, "tick"))
        parts.append(line(box.left, box.bottom, box.right, box.bottom, "axis"))
        parts.append(text(self.title, 0, 14, "title", anchor="start"))
        scale = ", log scale" if x.log else ""
        caption = f"median latency, {unit}{scale}; left is faster"
        middle = (box.left + box.right) / 2
        return [*parts, text(caption, middle, box.bottom + 39, "title")]

    def _limits(self, x: Scale, y: Scale) -> tuple[list[str], list[Box]]:
        """Return the lines of the budget, and where their words stand."""
        box, parts, boxes = self.frame, [], []
        if self.floor is not None and y.low < self.floor < y.high:
            at, width = y(self.floor), text_width("allowed loss")
            taken = [bar for p in self.points for bar in _bars(p, x, y)]
            lefts = np.linspace(box.right - width, box.left + 4, 9)
            found = [Box(float(left), at - 18, float(left) + width, at - 2) for left in lefts]
            words = min(found, key=lambda one: sum(map(one.shared, taken)))
            parts.append(line(box.left, at, box.right, at, "limit"))
            parts.append(text("allowed loss", words.left, at - 5, "limit-text", anchor="start"))
            boxes.append(words)
        if self.asked is not None and x.low < self.asked < x.high:
            at, width = x(self.asked), text_width("max_latency")
            left = at + 5 if at + width + 8 < box.right else at - 5 - width
            parts.append(line(at, box.top, at, box.bottom, "limit"))
            parts.append(text("max_latency", left, box.top + 10, "limit-text", anchor="start"))
            boxes.append(Box(left, box.top - 2, left + width, box.top + 14))
        return parts, boxes

    def _kept(self, x: Scale, y: Scale) -> dict[str, list[tuple[float, float]]]:
        """Return where the kept points of each series are, in order."""
        found: dict[str, list[tuple[float, float]]] = {}
        for p in self.points:
            if p.kind == "kept":
                found.setdefault(p.series, []).append((x(p.latency.value), y(p.quality.value)))
        return found

    def _paths(self, x: Scale, y: Scale) -> list[str]:
        return [
            element(
                "polyline",
                class_=f"path {series}".rstrip(),
                points=" ".join(f"{a:.1f},{b:.1f}" for a, b in corners),
            )
            for series, corners in self._kept(x, y).items()
        ]

    def _mark(self, p: Point, x: Scale, y: Scale) -> list[str]:
        at, up = x(p.latency.value), y(p.quality.value)
        if p.kind == "preview":
            own = next(q for q in self.points if q.name == p.name and q.kind != "preview")
            a, b = x(own.latency.value), y(own.quality.value)
            corners = f"{at:.1f},{up - 4:.1f} {at + 4:.1f},{up:.1f} {at:.1f},{up + 4:.1f} "
            return [
                line(a, b, at, up, "thread"),
                element("polygon", class_="preview", points=corners + f"{at - 4:.1f},{up:.1f}"),
            ]
        kind = " ".join(filter(None, (p.kind, "ships" if p.ships else "", p.series)))
        parts = [
            line(x(p.latency.low), up, x(p.latency.high), up, f"bar {kind}"),
            line(at, y(p.quality.low), at, y(p.quality.high), f"bar {kind}"),
        ]
        if p.ships:
            halo = f"halo {p.series}".rstrip()
            parts.append(element("circle", class_=halo, cx=at, cy=up, r=RADIUS + 4))
        return [*parts, element("circle", class_=f"mark {kind}", cx=at, cy=up, r=RADIUS)]

    def _labels(self, own: Sequence[Point], words: Sequence[Box], x: Scale, y: Scale) -> list[str]:
        bars = [bar for p in own for bar in _bars(p, x, y)]
        obstacles = [*bars, *words, *self._threads(x, y)]
        # of several runs only what ships has its name beside it: the legend has the others'
        named = [p for p in own if p.ships or not p.series]
        spots = [(p.name, x(p.latency.value), y(p.quality.value)) for p in named]
        parts = []
        for point, spot, label in zip(
            named, spots, place(spots, obstacles, self.frame, radius=RADIUS + 4), strict=True
        ):
            box, (_, at, up) = label.box, spot
            if label.far:
                end = min(max(at, box.left), box.right)
                parts.append(line(at, up, end, box.top if box.top > up else box.bottom, "leader"))
            kind = point.series or ("ships" if point.ships else point.kind)
            middle = (box.left + box.right) / 2
            parts.append(text(label.text, middle, box.bottom - 3.5, f"name {kind}"))
        return parts

    def _threads(self, x: Scale, y: Scale) -> list[Box]:
        """Return small boxes along what joins the kept points and around previews."""
        at = [(x(p.latency.value), y(p.quality.value), p.kind) for p in self.points]
        boxes = [Box(a - 4, b - 4, a + 4, b + 4) for a, b, kind in at if kind == "preview"]
        for kept in self._kept(x, y).values():
            for (a, b), (c, d) in pairwise(kept):
                for share in np.linspace(0, 1, 16):
                    mid, up = a + share * (c - a), b + share * (d - b)
                    boxes.append(Box(mid - 2, up - 2, mid + 2, up + 2))
        return boxes


def _bars(p: Point, x: Scale, y: Scale) -> tuple[Box, Box]:
    at, up = x(p.latency.value), y(p.quality.value)
    return (
        Box(x(p.latency.low), up - 2, x(p.latency.high), up + 2),
        Box(at - 2, y(p.quality.high), at + 2, y(p.quality.low)),
    )

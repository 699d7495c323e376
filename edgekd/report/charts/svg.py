"""The parts of a chart: scales with ticks, elements, labels that do not overlap.

Charts are written here and not by matplotlib, because an inline SVG of our own takes its colours
from the page (dark mode included), its letters from the reader's system, and is the same bytes for
the same record wherever it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

FONT_SIZE = 12.5
LINE = 15.0
LOG_FROM = 4.0
"""An axis whose values span more than this ratio is logarithmic."""
_LETTER = 0.6  # of the font size: the mean width in the widest of the usual system fonts


def element(name: str, text: str = "", **attributes: object) -> str:
    """Return one element; `class_` is written class and `text_anchor` text-anchor."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
    )
    return f"<{name}{written}>{escape(text)}</{name}>" if text else f"<{name}{written}/>"


def _plain(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def text_width(text: str) -> float:
    """Return about how wide a text is, in user units; rather too wide than too narrow."""
    return _LETTER * FONT_SIZE * len(text)


@dataclass(frozen=True)
class Box:
    """A rectangle in user units, y downward."""

    left: float
    top: float
    right: float
    bottom: float

    def shared(self, other: Box) -> float:
        """Return the area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    @property
    def area(self) -> float:
        """Width times height."""
        return (self.right - self.left) * (self.bottom - self.top)


@dataclass(frozen=True)
class Scale:
    """Takes values from `low` to `high` to places from `start` to `end`, evenly or by ratio."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (
            map(math.log, (self.low, self.high, value))
            if self.log
            else (
                self.low,
                self.high,
                value,
            )
        )
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, wanted: int) -> list[float]:
        """Return round values inside, about as many as wanted."""
        return self._by_ratio(wanted) if self.log else self._even(wanted)

    def _even(self, wanted: int) -> list[float]:
        rough = (self.high - self.low) / max(1, wanted)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]

    def _by_ratio(self, wanted: int) -> list[float]:
        decades = range(math.floor(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
        found: list[float] = []
        for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            every = [float(f"{m}e{d}") for d in decades for m in mantissas]
            inside = [v for v in every if self.low <= v <= self.high]
            if found and len(inside) > wanted + 1:
                break
            found = inside
        return found


@dataclass(frozen=True)
class Label:
    """A text beside a point; `box` is where it was put, `far` asks for a line to the point."""

    text: str
    box: Box
    far: bool


def place(
    points: Sequence[tuple[str, float, float]],
    obstacles: Sequence[Box],
    frame: Box,
    *,
    radius: float,
) -> list[Label]:
    """Put a label beside each point (text, x, y), covering neither other labels nor points.

    Greedy: each label takes the cheapest of 40 places around its point. What is covered costs by
    its area, labels before marks before bars (`obstacles`), then the distance.
    """
    marks = [Box(x - radius, y - radius, x + radius, y + radius) for _, x, y in points]
    placed: list[Label] = []
    for text, x, y in points:
        avoid = [(20.0, label.box) for label in placed]
        avoid += [(8.0, mark) for mark in marks] + [(3.0, box) for box in obstacles]
        around = _places(text, x, y, radius)
        costs = [
            reach
            + 20 * (box.area - box.shared(frame))
            + sum(weight * box.shared(other) for weight, other in avoid)
            for reach, box in around
        ]
        reach, box = around[costs.index(min(costs))]
        placed.append(Label(text, box, reach > radius + 12))
    return placed


def _places(text: str, x: float, y: float, radius: float) -> list[tuple[float, Box]]:
    width, half = text_width(text), LINE / 2
    found = []
    for gap in (4.0, 14.0, 26.0, 40.0, 56.0):
        reach = radius + gap
        for right, down in ((1, 0), (1, -1), (1, 1), (-1, 0), (-1, -1), (-1, 1), (0, -1), (0, 1)):
            side = 0.75 if right and down else 1.0
            near = x + right * reach * side
            left = near if right > 0 else near - width if right < 0 else x - width / 2
            middle = y + down * (reach * side + (half if not right else 2))
            found.append((reach, Box(left, middle - half, left + width, middle + half)))
    return found


def both_widths(draw: Callable[[float], str]) -> str:
    """Return a chart drawn for a desk and for a phone; the style sheet shows one of them."""
    return f'<div class="chart wide">{draw(760)}</div><div class="chart narrow">{draw(360)}</div>'


def svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    """Return the whole image with its text for those who do not see it."""
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'font-size="{FONT_SIZE}">{"".join(parts)}</svg>'
    )


def time_unit(values: Sequence[float]) -> tuple[float, str]:
    """Return the factor and the name of the unit that suits these seconds."""
    top = max(values)
    return (1e6, "µs") if top < 1e-3 else (1e3, "ms") if top < 2 else (1.0, "s")


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a line of a class of the style sheet."""
    return element("line", class_=kind, x1=x1, y1=y1, x2=x2, y2=y2)


def text(words: str, x: float, y: float, kind: str, *, anchor: str = "middle") -> str:
    """Return words of a class of the style sheet, their foot at y."""
    return element("text", words, class_=kind, x=x, y=y, text_anchor=anchor)


def rect(box: Box, kind: str) -> str:
    """Return a rectangle of a class of the style sheet."""
    size = (box.right - box.left, box.bottom - box.top)
    return element("rect", class_=kind, x=box.left, y=box.top, width=size[0], height=size[1])

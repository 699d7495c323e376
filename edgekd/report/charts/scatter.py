"""The chart of predicted against true numbers."""

from __future__ import annotations

from edgekd.evaluation.results import Scattered
from edgekd.report.charts.svg import Box, Scale, both_widths, element, line, svg, text

_TITLE = "predicted"
_HEIGHT = 340.0


def predicted_against_true(found: Scattered) -> str:
    """Return a point for each pair, and the line on which both are equal."""
    return both_widths(lambda width: _draw(found, width))


def _draw(found: Scattered, width: float) -> str:
    frame = Box(56, 28, width - 12, _HEIGHT - 44)
    values = [*found.true, *found.predicted]
    pad = 0.05 * (max(values) - min(values)) or 1.0
    low, high = min(values) - pad, max(values) + pad
    x = Scale(low, high, frame.left, frame.right)
    y = Scale(low, high, frame.bottom, frame.top)
    parts = [text(_TITLE, 0, 14, "title", anchor="start")]
    for tick in y.ticks(5):
        parts.append(line(frame.left, y(tick), frame.right, y(tick), "grid"))
        parts.append(text(f"{tick:g}", frame.left - 8, y(tick) + 4, "tick", anchor="end"))
        parts.append(text(f"{tick:g}", x(tick), frame.bottom + 20, "tick"))
    parts.append(line(frame.left, frame.bottom, frame.right, frame.bottom, "axis"))
    parts.append(line(x(low), y(low), x(high), y(high), "thread"))
    parts += [
        element("circle", class_="mark ships", cx=x(a), cy=y(b), r=2.0, fill_opacity=0.5)
        for a, b in zip(found.true, found.predicted, strict=True)
    ]
    parts.append(text("true", (frame.left + frame.right) / 2, frame.bottom + 39, "title"))
    label = f"predicted against true numbers of {len(found.true)} test samples"
    return svg(width, _HEIGHT, label, parts)

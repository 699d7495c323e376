"""The chart of predicted against true numbers."""

from __future__ import annotations

from edgekd.evaluation.examples import Scattered
from edgekd.report.charts.svg import Box, Scale, element, line, svg, text

_TITLE = "predicted"
_WIDTH, _HEIGHT = 380.0, 340.0


def predicted_against_true(found: Scattered) -> str:
    """Return a point for each pair, and the line on which both are equal."""
    return f'<div class="chart">{_draw(found)}</div>'


def _draw(found: Scattered) -> str:
    frame = Box(64, 30, _WIDTH - 14, _HEIGHT - 48)
    values = [*found.true, *found.teacher, *found.shipped]
    pad = 0.05 * (max(values) - min(values)) or 1.0
    low, high = min(values) - pad, max(values) + pad
    x = Scale(low, high, frame.left, frame.right)
    y = Scale(low, high, frame.bottom, frame.top)
    parts = [text(_TITLE, 0, 14, "title", anchor="start")]
    for tick in y.ticks(5):
        parts.append(line(frame.left, y(tick), frame.right, y(tick), "grid"))
        parts.append(text(f"{tick:,g}", frame.left - 8, y(tick) + 4, "tick", anchor="end"))
        parts.append(text(f"{tick:,g}", x(tick), frame.bottom + 20, "tick"))
    parts.append(line(frame.left, frame.bottom, frame.right, frame.bottom, "axis"))
    parts.append(line(x(low), y(low), x(high), y(high), "thread"))
    parts += [
        element("circle", class_="ring-mark", cx=x(a), cy=y(b), r=3.2)
        for a, b in zip(found.true, found.teacher, strict=True)
    ]
    parts += [
        element("circle", class_="mark ships", cx=x(a), cy=y(b), r=2.0, fill_opacity=0.6)
        for a, b in zip(found.true, found.shipped, strict=bool(found.shipped))
    ]
    parts.append(text("true", (frame.left + frame.right) / 2, frame.bottom + 39, "title"))
    what = f" of {found.name}" if found.name else ""
    label = f"predicted against true numbers{what} of {len(found.true)} test samples"
    return svg(_WIDTH, _HEIGHT, label, parts)

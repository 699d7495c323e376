"""The training loss of a stage, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence

from edgekd.report.charts.svg import Box, Scale, element, line, svg, text

_WIDTH, _HEIGHT = 330.0, 190.0


def loss_curve(title: str, losses: Sequence[float]) -> str:
    """Return the mean loss of each epoch as a line; one epoch is a point."""
    frame = Box(52, 30, _WIDTH - 12, _HEIGHT - 40)
    low, high = min(0.0, *losses), max(0.0, *losses)  # losses of similarity are below 0
    x = Scale(1, max(2, len(losses)), frame.left, frame.right)
    y = Scale(low, high if high > low else 1.0, frame.bottom, frame.top)
    parts = [text(f"{title}: training loss", 0, 14, "title", anchor="start")]
    for tick in y.ticks(4):
        parts.append(line(frame.left, y(tick), frame.right, y(tick), "grid"))
        parts.append(text(f"{tick:,g}", frame.left - 8, y(tick) + 4, "tick", anchor="end"))
    parts += [
        text(f"{tick:g}", x(tick), frame.bottom + 18, "tick")
        for tick in x.ticks(5)
        if tick == round(tick) and tick <= len(losses)
    ]
    parts.append(line(frame.left, frame.bottom, frame.right, frame.bottom, "axis"))
    points = [(x(number), y(loss)) for number, loss in enumerate(losses, 1)]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    parts.append(element("polyline", class_="curve", points=path))
    last = points[-1]
    parts.append(element("circle", class_="mark ships", cx=last[0], cy=last[1], r=3.0))
    parts.append(text("epoch", (frame.left + frame.right) / 2, frame.bottom + 36, "title"))
    ends = f"{losses[0]:.3g} in the first epoch, {losses[-1]:.3g} in the last"
    label = f"training loss of {title}: {ends}"
    return f'<div class="chart">{svg(_WIDTH, _HEIGHT, label, parts)}</div>'

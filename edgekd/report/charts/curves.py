"""The curves of a training, epoch by epoch: the loss, its parts, the metric on validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgekd.report.charts.svg import Box, Scale, element, line, svg, text

_WIDTH, _HEIGHT = 330.0, 190.0


def curves_of(
    title: str, losses: Sequence[float | None], others: Mapping[str, Sequence[float | None]]
) -> list[str]:
    """Return the curves of a training: the loss, then its parts and what else is known of it.

    None: an epoch without a value; a curve without any is left out.
    """
    named = {"training loss": losses, **others}
    return [
        loss_curve(title, values, what=name) for name, values in named.items() if any_of(values)
    ]


def any_of(values: Sequence[float | None]) -> bool:
    """Whether any epoch has a value."""
    return any(value is not None for value in values)


def loss_curve(title: str, values: Sequence[float | None], *, what: str = "training loss") -> str:
    """Return the value of each epoch as a line; one epoch is a point.

    A loss is drawn from 0. What is not a loss, as a metric on validation, fills the frame.
    """
    frame = Box(52, 30, _WIDTH - 12, _HEIGHT - 40)
    known = [(epoch, value) for epoch, value in enumerate(values, 1) if value is not None]
    numbers = [value for _, value in known]
    low, high = min(numbers), max(numbers)
    if not what.startswith("validation"):
        low, high = min(0.0, low), max(0.0, high)  # losses of similarity are below 0
    if low == high:
        low, high = (low - 0.5, high + 0.5) if low else (0.0, 1.0)
    x = Scale(1, max(2, len(values)), frame.left, frame.right)
    y = Scale(low, high, frame.bottom, frame.top)
    parts = [text(f"{title}: {what}", 0, 14, "title", anchor="start")]
    for tick in y.ticks(4):
        parts.append(line(frame.left, y(tick), frame.right, y(tick), "grid"))
        parts.append(text(f"{tick:,g}", frame.left - 8, y(tick) + 4, "tick", anchor="end"))
    parts += [
        text(f"{tick:g}", x(tick), frame.bottom + 18, "tick")
        for tick in x.ticks(5)
        if tick == round(tick) and tick <= len(values)
    ]
    parts.append(line(frame.left, frame.bottom, frame.right, frame.bottom, "axis"))
    points = [(x(epoch), y(value)) for epoch, value in known]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    parts.append(element("polyline", class_="curve", points=path))
    last = points[-1]
    parts.append(element("circle", class_="mark ships", cx=last[0], cy=last[1], r=3.0))
    parts.append(text("epoch", (frame.left + frame.right) / 2, frame.bottom + 36, "title"))
    ends = f"{numbers[0]:.3g} in the first epoch, {numbers[-1]:.3g} in the last"
    return f'<div class="chart">{svg(_WIDTH, _HEIGHT, f"{what} of {title}: {ends}", parts)}</div>'

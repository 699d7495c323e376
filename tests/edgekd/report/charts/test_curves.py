"""The curve of a training loss."""

from __future__ import annotations

import re

import pytest

from edgekd.report.charts.curves import loss_curve


@pytest.mark.parametrize("losses", [(0.0,), (-0.5,), (-0.9, -0.7), (3.0, 0.5, 0.1), (0.2, -0.2)])
def test_any_losses_are_points_in_the_frame_lower_ones_lower(losses: tuple[float, ...]) -> None:
    drawn = loss_curve("distill", losses)
    (points,) = re.findall(r'points="([^"]+)"', drawn)
    places = [tuple(map(float, point.split(","))) for point in points.split()]
    assert len(places) == len(losses)
    assert all(30 <= y <= 150 for _, y in places)
    heights = [y for _, y in places]
    assert sorted(heights) == [y for _, y in sorted(zip(losses, heights, strict=True))][::-1]

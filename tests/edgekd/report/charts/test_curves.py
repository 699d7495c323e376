"""The curves of a training."""

from __future__ import annotations

import re

import pytest

from edgekd.report.charts.curves import curves_of, loss_curve


@pytest.mark.parametrize("losses", [(0.0,), (-0.5,), (-0.9, -0.7), (3.0, 0.5, 0.1), (0.2, -0.2)])
def test_any_losses_are_points_in_the_frame_lower_ones_lower(losses: tuple[float, ...]) -> None:
    drawn = loss_curve("distill", losses)
    (points,) = re.findall(r'points="([^"]+)"', drawn)
    places = [tuple(map(float, point.split(","))) for point in points.split()]
    assert len(places) == len(losses)
    assert all(30 <= y <= 150 for _, y in places)
    heights = [y for _, y in places]
    assert sorted(heights) == [y for _, y in sorted(zip(losses, heights, strict=True))][::-1]


def test_a_metric_fills_the_frame_and_gaps_are_passed_over() -> None:
    drawn = loss_curve("distill", (91.0, None, 91.5), what="validation top-1")
    (points,) = re.findall(r'points="([^"]+)"', drawn)
    (x1, y1), (x3, y3) = (tuple(map(float, point.split(","))) for point in points.split())
    assert (y1, y3) == (150, 30)
    assert (x1, x3) == (52, 318)
    assert "validation top-1 of distill: 91 in the first epoch" in drawn


def test_every_part_of_a_loss_has_its_curve() -> None:
    others = {"hard": (1.0, 0.5), "rkd": (None, None), "validation top-1": (50.0, 50.0)}
    drawn = curves_of("distill", (2.0, 1.0), others)
    titles = [re.findall(r">(distill: [^<]+)<", chart)[0] for chart in drawn]
    assert titles == ["distill: training loss", "distill: hard", "distill: validation top-1"]
    assert curves_of("quantize", (), {}) == []

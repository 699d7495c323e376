from __future__ import annotations

import re

from edgekd.evaluation.examples import Fit, Scattered
from edgekd.report.charts.scatter import predicted_against_true

NO_FIT = (Fit(r2=0.0, error=1.0),)


def test_points_lie_inside_and_equal_numbers_on_the_line() -> None:
    drawn = predicted_against_true(
        Scattered(
            name="", true=(-5.0, 0.0, 90.0), teacher=(-5.0, 4.0, 90.0), shipped=(), fits=NO_FIT
        )
    )
    circles = re.findall(r'<circle [^>]*cx="([\d.]+)" cy="([\d.]+)"', drawn)
    points = [(float(x), float(y)) for x, y in circles]
    assert len(points) == 3
    assert all(56 <= x <= 748 and 28 <= y <= 296 for x, y in points)
    ends = re.search(
        r'class="thread" x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"', drawn
    )
    assert ends is not None
    x1, y1, x2, y2 = map(float, ends.groups())
    off = [y - (y1 + (x - x1) / (x2 - x1) * (y2 - y1)) for x, y in points]
    assert abs(off[0]) < 0.5
    assert off[1] < -1  # predicted is more: above the line
    assert abs(off[2]) < 0.5


def test_one_number_alone_can_be_drawn() -> None:
    one = Scattered(name="price", true=(3.0,), teacher=(3.0,), shipped=(3.0,), fits=NO_FIT)
    drawn = predicted_against_true(one)
    assert drawn.count("<circle") == 2
    assert "true numbers of price of 1 test samples" in drawn

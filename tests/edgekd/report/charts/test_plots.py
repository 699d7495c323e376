"""Scales, labels that keep apart, and the charts of a record."""

from __future__ import annotations

import copy
import itertools
import random
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from edgekd.evaluation.record import from_json
from edgekd.report.charts.plots import quality_against_latency
from edgekd.report.charts.ridges import latency_distributions
from edgekd.report.charts.svg import Box, Scale, element, place

Content = dict[str, Any]


@pytest.mark.parametrize(("low", "high"), [(0.1, 1.5), (3, 9), (0.97, 1.04), (2e-3, 90), (5, 5.5)])
@pytest.mark.parametrize("log", [True, False])
def test_ticks_lie_inside_and_are_few_but_enough(low: float, high: float, log: bool) -> None:
    scale = Scale(low, high, 0, 300, log)
    ticks = scale.ticks(5)
    assert all(low <= tick <= high for tick in ticks)
    assert ticks == sorted(set(ticks))
    assert (1 if log else 3) <= len(ticks) <= 9
    assert [scale(low), scale(high)] == pytest.approx([0, 300])
    assert scale(ticks[0]) >= -1e-9


def test_labels_of_crowded_points_do_not_overlap() -> None:
    rng = random.Random(3)
    frame = Box(0, 0, 360, 300)
    spots = [("teacher", 300.0, 60.0)] + [
        (f"prune {i}", rng.uniform(90, 150), rng.uniform(120, 160)) for i in range(7)
    ]
    labels = place(spots, [], frame, radius=8)
    assert [label.text for label in labels] == [text for text, _, _ in spots]
    for one, other in itertools.combinations(labels, 2):
        assert one.box.shared(other.box) == 0, (one, other)
    for label in labels:
        assert label.box.shared(frame) == pytest.approx(label.box.area)


def svgs(chart: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", chart, re.S)]


def of_class(image: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [node for node in image.iter() if name in node.get("class", "").split()]


def test_every_stage_is_a_point_with_bars_and_a_name(content: Content) -> None:
    chart = quality_against_latency(from_json(content))
    assert chart is not None
    wide, narrow = svgs(chart)
    for image in (wide, narrow):
        assert [t.text for t in of_class(image, "name")] == [r["title"] for r in content["rungs"]]
        assert len(of_class(image, "mark")) == 5
        assert len(of_class(image, "bar")) == 10
        assert len(of_class(image, "preview")) == 4
        assert len([n for n in of_class(image, "rolled") if n.tag == "circle"]) == 1
        assert "log scale" in "".join(image.itertext())


def test_faster_stands_further_left_and_better_further_up(content: Content) -> None:
    chart = quality_against_latency(from_json(content))
    assert chart is not None
    marks = of_class(svgs(chart)[0], "mark")  # drawn from the last to the first
    across = [float(m.get("cx", "")) for m in reversed(marks)]
    down = [float(m.get("cy", "")) for m in reversed(marks)]
    teacher, distill, prune, prune2, quantize = range(5)
    assert across[teacher] > across[distill] > across[prune] > across[prune2] > across[quantize]
    assert down[teacher] < down[distill] < down[quantize] < down[prune2]


def test_a_narrow_span_is_drawn_evenly(content: Content) -> None:
    for rung in content["rungs"]:
        for file in rung["evidence"]["files"]:
            file["latency_s"] = {"value": 1e-3, "low": 0.9e-3, "high": 1.2e-3, "n": 6}
    chart = quality_against_latency(from_json(content))
    assert chart is not None
    assert "log scale" not in chart


def test_nothing_is_drawn_without_latency(make: Any) -> None:
    content = make(timed=False)
    assert quality_against_latency(from_json(content)) is None
    assert latency_distributions(from_json(content)) is None


def test_every_finalist_has_a_ridge_with_median_and_p90(content: Content) -> None:
    chart = latency_distributions(from_json(content))
    assert chart is not None
    for image in svgs(chart):
        assert len(of_class(image, "ridge")) == len(content["final"]["files"])
        assert len(of_class(image, "ships")) == 1
        medians = [float(n.get("x1", "")) for n in of_class(image, "median")]
        p90 = [float(n.get("x1", "")) for n in of_class(image, "p90")]
        assert medians == sorted(medians, reverse=True)  # every kept stage was faster
        assert all(m < p for m, p in zip(medians, p90, strict=True))


def test_calls_beyond_the_axis_are_counted_and_not_lost(content: Content) -> None:
    before = latency_distributions(from_json(content))
    slow = copy.deepcopy(content)
    slow["calls"][-1]["seconds"][:1] = [5.0]
    after = latency_distributions(from_json(slow))
    assert before is not None
    assert after is not None
    assert before.count("slower →") < after.count("slower →")


def test_a_ridge_of_equal_calls_is_drawn(content: Content) -> None:
    content["calls"] = content["calls"][:1]
    content["calls"][0]["seconds"] = [1.453e-3] * 9
    chart = latency_distributions(from_json(content))
    assert chart is not None
    assert "nan" not in chart


def test_elements_escape_what_they_are_given() -> None:
    made = element("text", "<b>&", class_='x" onload="y', text_anchor="end")
    node = ElementTree.fromstring(made)
    assert (node.text, node.get("class"), node.get("text-anchor")) == (
        "<b>&",
        'x" onload="y',
        "end",
    )

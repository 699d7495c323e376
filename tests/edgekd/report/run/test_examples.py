"""Masks and neighbours on the page, from a record that may be damaged or must not show samples."""

from __future__ import annotations

from typing import Any

import pytest

from edgekd.evaluation.record import from_json
from edgekd.report.run import write

Content = dict[str, Any]
PNG = "data:image/png;base64,iVBORw0KGgo="
HOSTILE = "data:image/svg+xml,<svg onload=alert(1)>"


@pytest.fixture
def shown(content: Content) -> Content:
    """A record with all that samples can show."""
    rate = {"label": "tree", "samples": 3, "teacher": 50.0, "shipped": 40.0}
    sample = {"index": 4, "image": HOSTILE, "true": PNG, "teacher": PNG, "shipped": PNG}
    sample |= {"difference": PNG, "teacher_right": 91.5, "shipped_right": 90.25}
    content["masks"] = {
        "classes": [rate],
        "samples": [sample],
        "colours": [["tree", "#00ff00"], ["odd", "red;background:url(http://x)"]],
    }
    anna = {"index": 1, "label": "anna", "image": PNG}
    text = {"index": 2, "label": "berta", "text": "<b>hello</b>"}
    content["retrieval"] = {
        "queries": 1000,
        "mates": 3.0,
        "recalls": [{"k": 1, "teacher": 91.25, "shipped": 90.0}],
        "shown": [{"query": anna, "teacher": [anna, text], "shipped": [text]}],
    }
    line: Content = {"name": "price", "true": [1.0], "teacher": [2.0], "shipped": [3.0]}
    line["fits"] = [{"r2": 88.25, "error": 1234.5}, {"r2": 81.0, "error": 0.5}]
    content["scattered"] = [line]
    return content


def test_masks_neighbours_and_numbers_are_on_the_page(shown: Content) -> None:
    page = write.page(from_json(shown))
    visible = page.partition('<script type="application/json"')[0]
    for figure in (
        "91.5 %",
        "90.2 %",
        "#00ff00",
        "91.2",
        "-1.2",
        "&lt;b&gt;hello",
        "price",
        "88.2 → 81.0",
    ):
        assert figure in visible
    assert 'class="same"' in visible
    assert 'class="other"' in visible
    for foreign in ("svg+xml", "url(http", "<b>hello"):
        assert foreign not in visible


def test_a_copy_without_samples_shows_none(shown: Content) -> None:
    page = write.page(from_json(shown), samples=False)
    assert "left out of this copy" in page
    for sample in (PNG, "anna", "berta", "hello"):
        assert sample not in page
    assert "tree" in page


def test_what_makes_the_whole_doubtful_is_at_the_top(content: Content) -> None:
    content["remarks"] = ["The teacher's top-1 is 10.0 % and a guess gets 11.2 %."]
    page = write.page(from_json(content))
    assert "a guess gets 11.2 %" in page.partition("<h1>")[0]

"""What samples of the test split show in the report."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from edgekd.pipeline.examples.masks import _Drawing, colour
from edgekd.pipeline.examples.shipping import png_uri, spread

PALE, RED, GREEN, AMBER, WHITE = (
    (213, 219, 227), (200, 52, 44), (21, 128, 96), (217, 154, 48), (255, 255, 255),
)  # fmt: skip


def pixels(uri: str) -> list[tuple[int, ...]]:
    data = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    found = np.asarray(Image.open(io.BytesIO(data)))
    return [tuple(row) for row in found.reshape(-1, 3).tolist()]


def test_the_difference_says_who_is_right() -> None:
    truth = np.array([[0, 1, 1, 1, 255]], np.uint8)
    teacher, shipped = np.array([[0, 1, 0, 0, 0]]), np.array([[0, 0, 1, 2, 1]])
    shown = _Drawing(truth, teacher, shipped).sample(7, None, 50.0, 25.0)
    assert pixels(shown.difference) == [PALE, RED, GREEN, AMBER, WHITE]
    assert pixels(shown.true) == [colour(0), colour(1), colour(1), colour(1), WHITE]
    alone = _Drawing(truth, teacher, None).sample(7, None, 50.0, 50.0)
    assert alone.shipped is None
    assert pixels(alone.difference) == [PALE, PALE, RED, RED, WHITE]


def test_every_class_has_a_colour_of_its_own() -> None:
    assert len({colour(i) for i in range(40)}) == 40


def test_what_was_lost_comes_first_and_no_row_twice() -> None:
    worth = np.zeros(50)
    worth[[7, 9]] = -1, -5
    worth[20] = 3
    rows = spread(worth, 8).tolist()
    assert rows[:3] == [9, 7, 20]
    assert len(set(rows)) == len(rows) == 8
    assert spread(np.zeros(3), 8).tolist() == [0, 1, 2]
    assert spread(-np.arange(9.0), 4).tolist()[:2] == [8, 7]


@pytest.mark.parametrize("nearest", [True, False])
def test_large_pictures_are_shown_small(nearest: bool) -> None:
    uri = png_uri(np.zeros((600, 300, 3), np.uint8), nearest=nearest)
    assert len(pixels(uri)) == 160 * 80

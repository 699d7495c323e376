from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekd.data.targets import describe_scale, read_target
from edgekd.errors import DataError
from edgekd.tasks.task import Target


@pytest.mark.parametrize(
    ("array", "wanted", "name", "expected"),
    [
        (np.array([2, 0]), None, "label", [2, 0]),
        (np.array([[2], [0]]), None, "label", [2, 0]),
        (np.array([2, -3]), "value", "value", [2.0, -3.0]),
        (np.array([1.5, 2.0]), None, "value", [1.5, 2.0]),
        (np.array([1.0, 2.0]), "label", "value", [1.0, 2.0]),
        (np.array([[1, 0], [1, 1]]), None, "labels", [[1, 0], [1, 1]]),
        (np.array([[1.0, 0], [1, 1]]), "label", "labels", [[1, 0], [1, 1]]),
        (np.array([[1.0, 0], [1, 1]]), None, "value", [[1.0, 0], [1, 1]]),
        (np.array([[True], [False]]), "labels", "labels", [[1], [0]]),
        (np.array(["b", "a"]), "label", "label", [1, 0]),
        (np.array(["2", "1,5", "1.234,5"]), "value", "value", [2.0, 1.5, 1234.5]),
        (np.array(["1,234.5", "-2e3"]), "value", "value", [1234.5, -2000.0]),
        (np.array([305, 17, 305]), "identity", "label", [1, 0, 1]),
        (np.array([-1.0, 4.0]), "identity", "label", [0, 1]),
        (np.array([1, 0]), "labels", "labels", [[1], [0]]),
        (np.array(["1", "0"]), "labels", "labels", [[1], [0]]),
        (np.array(["['a', 'b']", "[]"]), "labels", "labels", [[1, 1], [0, 0]]),
        (
            np.array(["a b", "b c", "a c", "c"]),
            "labels",
            "labels",
            [[1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1]],
        ),
        (np.array(["new york", "rome"]), "labels", "labels", [[1, 0], [0, 1]]),
        (np.array(["cat|dog", "", "dog"]), "labels", "labels", [[1, 1], [0, 0], [0, 1]]),
    ],
)
def test_targets_are_what_the_task_wants_or_their_form_says(
    array: Any, wanted: Target | None, name: str, expected: list[Any]
) -> None:
    found, values, _ = read_target(array, wanted=wanted, labels=None, where="here")
    assert (found, values.tolist()) == (name, expected)


def test_labels_of_several_have_their_names() -> None:
    _, values, names = read_target(
        np.array(["b; a", "c"]), wanted="labels", labels=("c", "b", "a"), where="here"
    )
    assert (values.tolist(), names) == ([[0, 1, 1], [1, 0, 0]], ("c", "b", "a"))


@pytest.mark.parametrize(
    ("array", "wanted", "message"),
    [
        (np.array(["1.5", "tall"]), "value", "not a number.*'tall'.*regression"),
        (np.array(["1.5", "nan"]), "value", "NaN or infinity"),
        (np.array([["a", "b"]]), None, r"names \[n\], were expected"),
        (np.array([[1, 2]]), None, r"0 or 1 for each label"),
    ],
)
def test_targets_that_cannot_be_it_are_refused(
    array: Any, wanted: Target | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_target(array, wanted=wanted, labels=None, where="here")


def test_large_numbers_to_predict_are_said() -> None:
    assert describe_scale(np.array([[0.1, -20.0], [0.3, 5.0]])) == ""
    said = describe_scale(np.array([[0.1, 2e5], [0.3, 9e5]]))
    assert "run from 200000 to 900000" in said

"""Classes that a model states by name number those of the data."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.data.dataset import Dataset
from edgekd.data.model_classes import number_classes
from edgekd.exporters.onnx_metadata import stated_classes

NAMES = ("person", "bicycle", "car", "dog")


def labelled(label: list[int], names: tuple[str, ...]) -> Dataset:
    samples = {"x": np.zeros((len(label), 2), np.float32)}
    return Dataset("array", samples, {"label": np.array(label)}, names)


def test_a_part_of_the_classes_in_another_order_gets_the_numbers_of_the_model() -> None:
    found = number_classes(labelled([0, 1, 1, 2], ("bicycle", "dog", "person")), NAMES)
    assert (found.targets["label"].tolist(), found.labels) == ([1, 3, 3, 0], NAMES)


def test_classes_that_are_only_counted_get_the_names() -> None:
    found = number_classes(labelled([2, 0, 1], ("0", "1", "2")), NAMES)
    assert (found.targets["label"].tolist(), found.labels) == ([2, 0, 1], NAMES)


@pytest.mark.parametrize("own", [("cat", "dog"), NAMES])
def test_other_classes_stay_as_they_are(own: tuple[str, ...]) -> None:
    dataset = labelled([0, 1], own)
    assert number_classes(dataset, NAMES) is dataset


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("names", "{0: 'person', 1: 'bicycle', 2: 'car', 3: 'dog'}"),
        ("Classes", '["person", "bicycle", "car", "dog"]'),
        ("labels", "person, bicycle,car,dog"),
        ("class_names", "person\nbicycle\ncar\ndog\n"),
        ("id2label", '{"3": "dog", "1": "bicycle", "2": "car", "0": "person"}'),
    ],
)
def test_names_are_read_as_people_write_them(key: str, text: str) -> None:
    assert stated_classes({"stride": "32", key: text}) == NAMES


@pytest.mark.parametrize(
    "text", ["", "one", "{1: 'a', 2: 'b'}", "['a', 'a']", "a,,b", "{", "7", "{'a': 1}"]
)
def test_what_names_no_classes_is_passed_over(text: str) -> None:
    assert stated_classes({"names": text}) == ()

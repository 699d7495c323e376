"""What is kept of a model's predictions: per sample, the same for any batch, and small."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import ArrayPreprocess
from edgekd.data.text_preprocess import TextPreprocess
from edgekd.evaluation.quality import estimate
from edgekd.evaluation.reduced import Reduced, reduce_split
from edgekd.tasks.classification import Classification
from edgekd.tasks.task import Arrays, Metric, Predictor, SignalKind

CLASSES = 2000
PLAIN = ArrayPreprocess(names=("x",))


def open_data(samples: Arrays, targets: Arrays, kind: Any) -> Data:
    count = len(next(iter(samples.values())))
    dataset = Dataset(kind, samples, targets)
    return Data(dataset, {"validation": np.arange(count)}, augment=Augment(), seed=0)


@pytest.fixture
def numbers() -> Data:
    """512 samples with one number each: the label."""
    label = np.arange(512) * 7 % CLASSES
    x = label.astype(np.float32)[:, None]
    return open_data({"x": x}, {"label": label}, "array")


def right(inputs: Arrays) -> Arrays:
    """Say the number that came in."""
    return {"out": (np.arange(CLASSES) == inputs["x"]).astype(np.float32)}


def right_if_even(inputs: Arrays) -> Arrays:
    """Say it, but 1 for the odd ones."""
    x = inputs["x"]
    return {"out": (np.arange(CLASSES) == np.where(x % 2 == 0, x, 1)).astype(np.float32)}


def reduced(model: Predictor, data: Data, size: int, teacher: Reduced | None = None) -> Reduced:
    task = Classification()
    return reduce_split(model, task, data, "validation", PLAIN, size=size, teacher=teacher)


@pytest.mark.parametrize("size", [1, 100, 512])
def test_reduced_predictions_are_the_same_for_any_size_of_batch(numbers: Data, size: int) -> None:
    teacher = reduced(right, numbers, 64)
    whole, parts = (reduced(right_if_even, numbers, n, teacher) for n in (512, size))
    assert parts.arrays.keys() == whole.arrays.keys()
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(parts.arrays[name], array)
    np.testing.assert_array_equal(parts.index, np.arange(512))
    found = {m.name: estimate(m, parts).value for m in Classification.metrics}
    odd = (parts.arrays["label"] % 2 == 1) & (parts.arrays["label"] != 1)
    assert found["top-1"] == found["agreement"] == pytest.approx(100 * (1 - odd.mean()))


def test_reduced_predictions_of_the_teacher_agree_with_itself(numbers: Data) -> None:
    teacher = reduced(right_if_even, numbers, 64)
    agreement = next(m for m in Classification.metrics if m.name == "agreement")
    assert estimate(agreement, teacher).value == 100.0


def test_reduced_predictions_never_are_in_memory_together(numbers: Data) -> None:
    """Of the teacher and of a student: what stays is a small part of one of them."""
    all_of_one = 512 * CLASSES * 4  # bytes of float32
    tracemalloc.start()
    teacher = reduced(right, numbers, 8)
    student = reduced(right_if_even, numbers, 8, teacher)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < all_of_one / 4
    kept = [*teacher.arrays.values(), *teacher.reference.values(), *student.arrays.values()]
    assert sum(array.nbytes for array in kept) < all_of_one / 50


def share_right(reduced: Arrays) -> NDArray[np.float64]:
    right = (reduced["right"] * reduced["mask"]).sum(axis=1)
    return np.asarray(100.0 * right / reduced["mask"].sum(axis=1))


class Tagging:
    """A label for each word; the model gives a score for each word and label."""

    signals: Mapping[str, SignalKind] = {"tags": "tokens"}
    metrics: Sequence[Metric] = (Metric("right", "%", values=share_right, is_percentage=True),)

    def predict(self, model: Predictor, inputs: Arrays) -> Arrays:
        return model(inputs)

    def reference(self, predictions: Arrays) -> Arrays:
        return {}

    def reduce(self, predictions: Arrays, targets: Arrays, teacher: Arrays) -> Arrays:
        mask = predictions["mask"]
        tags = targets["tags"][:, : mask.shape[1]]
        return {"right": predictions["tags"].argmax(axis=2) == tags, "mask": mask}

    def loss(self, outputs: Any, targets: Any) -> Any:
        raise NotImplementedError

    def check(self, targets: Arrays) -> None:
        assert "tags" in targets


@pytest.mark.parametrize("name", ["mask", "attention_mask"])
def test_reduced_predictions_for_words_carry_their_mask_through_unlike_lengths(name: str) -> None:
    """The tagger says 1 for each word and in the padding: "b" is right.

    Batches of two texts are 2, 4 and 1 words long.
    """
    texts = np.array(["a b", "b", "a b a b", "b a", "a"])
    tags = np.zeros((5, 4), np.int64)
    for i, text in enumerate(texts):
        tags[i, : len(text.split())] = [word == "b" for word in text.split()]

    def tagger(inputs: Arrays) -> Arrays:
        return {"out": np.broadcast_to([0.0, 1.0], (*inputs["tokens"].shape, 2))}

    found = reduce_split(
        tagger,
        Tagging(),
        open_data({"text": texts}, {"tags": tags}, "text"),
        "validation",
        TextPreprocess(vocabulary=("a", "b"), mask=name),
        size=2,
        teacher=None,
    )
    assert found.arrays["right"].shape == (5, 4)
    np.testing.assert_array_equal(found.arrays["mask"].sum(axis=1), [2, 1, 4, 2, 1])
    value = estimate(Tagging.metrics[0], found).value
    assert value == pytest.approx(100 * (0.5 + 1 + 0.5 + 0.5 + 0) / 5)

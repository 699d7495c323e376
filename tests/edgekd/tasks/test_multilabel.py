from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekd.errors import DataError
from edgekd.tasks.classification import Classification
from edgekd.tasks.multilabel import Multilabel, average_precision, f1, mean_average_precision
from edgekd.tasks.task import Arrays


def test_average_precision_by_hand() -> None:
    label = np.array([1, 0, 1, 0])
    # right after 1 of 1 and 2 of 3
    assert average_precision(np.array([4.0, 3, 2, 1]), label) == pytest.approx((1 + 2 / 3) / 2)
    # one threshold: the share of positives, whatever the order
    assert average_precision(np.zeros(4), label) == pytest.approx(0.5)
    assert average_precision(np.array([1.0, 2, 1, 0]), label) == pytest.approx(2 / 3)


def test_metrics_by_hand() -> None:
    reduced = {
        "score": np.array([[0.9, 0.1, 0.2], [0.8, 0.7, 0.1]]),
        "label": np.array([[1, 0, 0], [0, 1, 0]], np.uint8),
        "teacher": np.array([[1, 0, 0], [1, 0, 0]], np.uint8),
    }
    assert mean_average_precision(reduced) == pytest.approx(100)  # the third label never occurs
    assert f1(reduced) == pytest.approx(100 * 2 * 2 / (2 * 2 + 1))
    accuracy, agreement = (m.of(reduced) for m in Multilabel().metrics[2:])
    assert (accuracy, agreement) == pytest.approx((100 * 5 / 6, 100 * 5 / 6))
    nothing: Arrays = {"score": np.zeros((2, 1)), "label": np.zeros((2, 1), np.uint8)}
    assert (mean_average_precision(nothing), f1(nothing)) == (0.0, 100.0)


def test_the_loss_is_one_number_per_sample_and_the_widths_must_agree() -> None:
    logits, labels = torch.zeros(3, 2), torch.tensor([[1, 0], [1, 1], [0, 0]], dtype=torch.uint8)
    loss = Multilabel().loss({"logits": logits}, {"labels": labels})
    assert loss.tolist() == pytest.approx([np.log(2)] * 3)
    with pytest.raises(DataError, match=r"logits \[5\] for each sample.*targets \[2\]"):
        Multilabel().loss({"logits": torch.zeros(3, 5)}, {"labels": labels})


def test_other_targets_are_refused_with_the_task_they_fit() -> None:
    rows = {"labels": np.eye(3, dtype=np.uint8)}
    Multilabel().check(rows)
    with pytest.raises(DataError, match=r"task = \"multilabel\".*argmax\(axis=1\)"):
        Classification().check(rows)
    with pytest.raises(DataError, match='task = "classification"'):
        Multilabel().check({"label": np.arange(3)})
    with pytest.raises(DataError, match="needs 0 or 1"):
        Multilabel().check({"labels": np.full((3, 2), 0.5)})


def test_probabilities_in_place_of_logits_are_noticed() -> None:
    task, rng = Multilabel(), np.random.default_rng(0)
    logits, labels = rng.normal(size=(40, 3)), np.ones((40, 3), np.uint8)
    for outputs, found in ((logits, False), (1 / (1 + np.exp(-logits)), True)):
        reference = task.reference({"logits": outputs})
        reduced = task.reduce({"logits": outputs}, {"labels": labels}, reference)
        assert ("between 0 and 1" in task.doubt(reduced)) == found

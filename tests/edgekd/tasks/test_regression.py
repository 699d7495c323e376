from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekd.errors import DataError
from edgekd.tasks.classification import Classification
from edgekd.tasks.regression import Regression, determination


def test_metrics_by_hand() -> None:
    reduced = {
        "value": np.array([[1.0], [2], [3], [6]]),
        "answer": np.array([[1.0], [2], [5], [6]]),
        "teacher": np.array([[1.0], [2], [5], [6]]),
    }
    explained, absolute, root, agreement = (m.of(reduced) for m in Regression().metrics)
    assert explained == pytest.approx(100 * (1 - 4 / 14))
    assert (absolute, root, agreement) == pytest.approx((0.5, 1.0, 100.0))


def test_the_mean_explains_nothing_and_a_constant_value_counts_if_it_is_exact() -> None:
    truth = np.array([[1.0, 7], [3, 7]])
    assert determination(np.array([[2.0, 7], [2, 7]]), truth) == pytest.approx(50)
    assert determination(np.array([[2.0, 7], [2, 8]]), truth) == pytest.approx(0)


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_value_may_be_a_column_or_not(shape: tuple[int, ...]) -> None:
    task, value = Regression(), torch.tensor([1.0, 2, 3])
    loss = task.loss({"values": torch.zeros(shape)}, {"value": value})
    assert loss.tolist() == [1, 4, 9]
    reference = task.reference({"values": np.zeros(shape)})
    reduced = task.reduce({"values": np.zeros(shape)}, {"value": value.numpy()}, reference)
    assert task.metrics[1].of(reduced) == 2


def test_other_widths_and_targets_are_refused() -> None:
    with pytest.raises(DataError, match=r"values \[5\] for each sample.*targets \[1\]"):
        Regression().loss({"values": torch.zeros(3, 5)}, {"value": torch.zeros(3)})
    with pytest.raises(DataError, match='task = "classification"'):
        Regression().check({"label": np.arange(3)})
    with pytest.raises(DataError, match=r"task = \"regression\".*astype\(np.int64\)"):
        Classification().check({"value": np.ones(3, np.float32)})


def test_numbers_that_never_vary_are_refused() -> None:
    Regression().check({"value": np.array([1.0, 2.0])})
    with pytest.raises(DataError, match="all 3 targets are 1: there is nothing to predict"):
        Regression().check({"value": np.ones(3)})

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgekd.errors import DataError
from edgekd.tasks.embedding import Embedding, drawn_mate, rank_correlation, recall
from edgekd.tasks.task import Arrays


def reduced(vectors: list[list[float]], label: list[int], teacher: list[list[float]]) -> Arrays:
    task = Embedding()
    reference = task.reference({"embedding": np.array(teacher)})
    return task.reduce({"embedding": np.array(vectors)}, {"label": np.array(label)}, reference)


def test_recall_by_hand() -> None:
    vectors = [[1.0, 0.0], [5.0, 0.5], [1.0, 1.0], [0.0, 1.0]]
    found = reduced(vectors, [0, 0, 1, 2], vectors)
    assert recall(found, k=1).tolist() == [100, 100]  # the others have no mate to be found
    assert recall(reduced(vectors, [0, 1, 1, 0], vectors), k=1).tolist() == [0, 0, 100, 0]
    assert recall(reduced(vectors, [0, 1, 1, 0], vectors), k=5).tolist() == [100] * 4
    assert recall(reduced([[1, 0.0]], [0], [[1, 0.0]]), k=5).tolist() == [0]


def test_chance_is_a_mate_drawn_from_the_others() -> None:
    found = reduced([[1.0, 0.0]] * 5, [0, 0, 0, 1, 2], [[1.0, 0.0]] * 5)
    assert drawn_mate(found) == 50


def test_rank_correlation_is_full_for_the_teacher_and_length_does_not_count() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 4))
    same = reduced((3 * vectors).tolist(), [0] * 30, vectors.tolist())
    assert rank_correlation(same) == pytest.approx([100] * 30)
    other = reduced(rng.normal(size=(30, 4)).tolist(), [0] * 30, vectors.tolist())
    assert abs(rank_correlation(other).mean()) < 40


def test_the_loss_by_hand() -> None:
    task = Embedding()
    vectors = torch.eye(3)[[0, 0, 1]]
    loss = task.loss({"embedding": 7 * vectors}, {"label": torch.tensor([4, 4, 5])})
    assert loss.tolist() == pytest.approx([np.log(1 + np.exp(-10))] * 2 + [0.0], abs=1e-6)
    alone = task.loss({"embedding": torch.ones(1, 3)}, {"label": torch.tensor([0])})
    assert alone.tolist() == [0.0]


def test_labels_are_needed() -> None:
    with pytest.raises(DataError, match="needs a target 'label'"):
        Embedding().check({"value": np.ones(2)})

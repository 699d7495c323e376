"""What networks say of the classes that they do not choose, with and without label smoothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd.evaluation.wrong_classes import describe_wrong_classes, surer_half

CLASSES = 6


def test_the_measures_by_hand() -> None:
    logits = np.array([[6.0, 1.0, 0.0, -1.0], [-1.0, 1.0, 0.0, 4.0]])
    found = describe_wrong_classes(logits, np.array([True, False]))
    assert found is not None
    assert found.gap == pytest.approx(5.0)  # 6 and 4 above 0
    deviation = math.sqrt(2 / 3)
    assert found.spread == pytest.approx((deviation / 6 + deviation / 4) / 2)
    e = math.e
    p = np.array([e, 1, 1 / e]) / (e + 1 + 1 / e)
    assert found.evenness == pytest.approx(-(p * np.log(p)).sum() / math.log(3))
    top = math.exp(6) / (math.exp(6) + e + 1 + 1 / e)
    assert found.sure_confidence == pytest.approx(top)  # the first of two is the surer half
    assert found.sure_accuracy == 1.0


def test_the_surer_half_is_half_and_never_nothing() -> None:
    assert surer_half(np.array([0.2, 0.9, 0.9, 0.5])).tolist() == [False, True, True, False]
    assert surer_half(np.array([0.2, 0.2, 0.2])).tolist() == [True, False, False]
    assert surer_half(np.array([0.2])).tolist() == [True]


def test_what_has_no_wrong_classes_to_compare_or_no_scores_is_said() -> None:
    assert describe_wrong_classes(np.array([[1.0, 0.0]]), None) is None
    flat = describe_wrong_classes(np.zeros((5, 4)), np.zeros(5, bool))
    assert flat is not None
    assert (flat.gap, flat.spread) == (0.0, 0.0)
    assert flat.evenness == pytest.approx(1.0)
    assert flat.smoothing is None
    cut = describe_wrong_classes(np.array([[9.0, -1e4, -1e4, 1.0]] * 3), None)
    assert cut is not None
    assert cut.evenness == pytest.approx(0.0)


def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    """Return points of six kinds, of which some lie near each other."""
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 1.9, (CLASSES, 8))
    label = np.arange(1200) % CLASSES
    x = middles[label] + rng.normal(0, 1, (1200, 8))
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(label)


def train(smoothing: float, *, epochs: int = 25, seed: int = 0) -> NDArray[np.float64]:
    """Return the scores of points that the network has not seen, [400, classes]."""
    x, label = blobs()
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
    net.append(nn.Linear(32, CLASSES))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    loss = nn.CrossEntropyLoss(label_smoothing=smoothing)
    for _ in range(epochs):
        for rows in torch.split(torch.arange(800), 100):
            optimizer.zero_grad()
            loss(net(x[rows]), label[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return np.asarray(net(x[800:]).double().numpy())


@pytest.mark.parametrize("seed", [0, 1])
def test_smoothing_is_seen_and_how_much(seed: int) -> None:
    label = blobs()[1][800:].numpy()
    for smoothing in (0.1, 0.2):
        logits = train(smoothing, seed=seed)
        found = describe_wrong_classes(logits, logits.argmax(axis=1) == label)
        assert found is not None
        assert found.smoothing is not None
        assert 0.6 * smoothing < found.smoothing < 1.7 * smoothing
        scaled = describe_wrong_classes(3 * logits, None)
        assert scaled is not None
        assert scaled.spread == pytest.approx(found.spread)


@pytest.mark.parametrize("seed", [0, 1])
def test_plain_training_is_not_taken_for_it(seed: int) -> None:
    label = blobs()[1][800:].numpy()
    for epochs in (1, 5, 25):
        logits = train(0.0, epochs=epochs, seed=seed)
        right = logits.argmax(axis=1) == label
        for seen in (right, None):
            found = describe_wrong_classes(logits, seen)
            assert found is not None
            assert found.smoothing is None, epochs
    halved = describe_wrong_classes(logits / 2, right)  # as a temperature in the graph does
    assert halved is not None
    assert halved.smoothing is None

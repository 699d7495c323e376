"""Losses between outputs, against values worked out by hand or by plain sums in numpy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgekd.distill.losses.decoupled import Decoupled, decoupled
from edgekd.distill.losses.dist import dist, pearson
from edgekd.distill.losses.response import (
    Logits,
    SoftTargets,
    Standardised,
    TopTargets,
    mean_squared,
    soft_labels,
    soft_targets,
    standardised,
    top_targets,
)
from edgekd.distill.losses.scores import class_rows
from edgekd.errors import ModelError
from edgekd.training.signals import Signals
from edgekd.training.terms import Compared

if TYPE_CHECKING:
    from edgekd.tasks.task import SignalKind

STUDENT = np.array([[1.0, -0.5, 2.0, 0.3], [0.2, 1.7, -1.1, 0.9], [3.0, 0.4, 0.1, -2.0]])
TEACHER = np.array([[2.5, 0.5, 1.0, -0.7], [-0.4, 2.2, 0.6, 1.3], [1.5, 1.9, -0.3, 0.8]])
"""Three samples, four classes."""
Array = NDArray[np.float64]


def tensors(*arrays: Array) -> list[Tensor]:
    return [torch.tensor(array, dtype=torch.float32) for array in arrays]


def softmax(logits: Array, temperature: float) -> Array:
    raised = np.exp(logits / temperature)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def kl(teacher: Array, student: Array) -> float:
    """The mean over rows of the sum of q ln(q / p)."""
    return float((teacher * np.log(teacher / student)).sum(axis=1).mean())


def test_soft_targets_by_hand() -> None:
    # T = 2: teacher (3/4, 1/4) from logits 2 ln 3 and 0, student (1/2, 1/2):
    # KL = 3/4 ln(3/2) + 1/4 ln(1/2), times T^2 = 4
    teacher = torch.tensor([[2 * math.log(3.0), 0.0]])
    student = torch.zeros(1, 2)
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert float(soft_targets(student, teacher, temperature=2.0)) == pytest.approx(expected)


def test_soft_targets_ignore_a_shift_and_vanish_at_the_teacher() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert float(soft_targets(logits + 3, logits, temperature=4.0)) == pytest.approx(0, abs=1e-6)


def test_soft_targets_keep_their_gradient_at_high_temperature() -> None:
    """The reason for the factor T^2 (Hinton 2015): at high T the gradient is (z - v) / N."""
    student = torch.tensor([[0.3, -0.3]], requires_grad=True)
    teacher = torch.tensor([[-0.2, 0.2]])
    soft_targets(student, teacher, temperature=100.0).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    torch.testing.assert_close(student.grad, (student - teacher).detach() / 2, rtol=1e-3, atol=1e-5)


def test_soft_labels_and_mean_squared_by_hand() -> None:
    # teacher sigmoid(0) = 1/2, student logit 0: cross entropy is ln 2
    assert float(soft_labels(torch.zeros(2, 3), torch.zeros(2, 3))) == pytest.approx(math.log(2))
    student, teacher = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])
    assert float(mean_squared(student, teacher)) == pytest.approx(2.5)


def test_soft_targets_of_several_samples_are_the_mean_of_their_divergences() -> None:
    expected = 9 * kl(softmax(TEACHER, 3), softmax(STUDENT, 3))
    assert soft_targets(*tensors(STUDENT, TEACHER), temperature=3.0).item() == pytest.approx(
        expected, rel=1e-5
    )


def test_a_class_that_the_teacher_excludes_adds_nothing_and_no_nan() -> None:
    teacher = torch.tensor([[0.0, 0.0, -math.inf]])
    student = torch.tensor([[0.0, 0.0, -math.inf]], requires_grad=True)
    loss = soft_targets(student, teacher, temperature=1.0)
    assert loss.item() == pytest.approx(0, abs=1e-6)
    # teacher (1/2, 1/2, 0), student (1/3, 1/3, 1/3): ln(3/2)
    some = soft_targets(torch.zeros(1, 3), teacher, temperature=1.0)
    assert some.item() == pytest.approx(math.log(1.5))


def test_logits_by_hand_and_a_map_of_another_size() -> None:
    seen = Compared(
        Signals({"logits": torch.tensor([[1.0, 3.0]])}),
        Signals({"logits": torch.tensor([[2.0, -1.0]])}),
        {"logits": "labels"},
    )
    assert Logits().parts(seen)["logits"].item() == pytest.approx((1 + 16) / 2)
    two, one = torch.full((1, 2, 2, 2), 3.0), torch.full((1, 2, 1, 1), 5.0)
    maps = Compared(Signals({"logits": two}), Signals({"logits": one}), {"logits": "class map"})
    assert Logits().parts(maps)["logits"].item() == pytest.approx(4.0)


def test_standardised_logits_by_hand() -> None:
    # 1, 2, 6: mean 3, deviations -2, -1, 3, their mean square is 14 / 3
    found = standardised(torch.tensor([[1.0, 2.0, 6.0], [5.0, 5.0, 5.0]]))
    root = math.sqrt(14 / 3)
    torch.testing.assert_close(found[0], torch.tensor([-2.0, -1.0, 3.0]) / root)
    assert found[1].tolist() == [0.0, 0.0, 0.0]


def test_standardised_soft_targets_take_no_notice_of_shift_and_range() -> None:
    own = STUDENT - STUDENT.mean(axis=1, keepdims=True)
    its = TEACHER - TEACHER.mean(axis=1, keepdims=True)
    own, its = (x / np.sqrt((x**2).mean(axis=1, keepdims=True)) for x in (own, its))
    expected = 4 * kl(softmax(its, 2), softmax(own, 2))
    term = Standardised(temperature=2.0)
    assert term.compare(*tensors(STUDENT, TEACHER)).item() == pytest.approx(expected, rel=1e-5)
    wide = term.compare(*tensors(STUDENT, 30 * TEACHER - 7)).item()
    assert wide == pytest.approx(expected, rel=1e-4)


def test_two_classes_cannot_be_standardised() -> None:
    two = Signals({"logits": torch.zeros(2, 2)})
    with pytest.raises(ModelError, match="at least 3 classes, and 'logits' has 2"):
        Standardised().check_shapes(two, two, {"logits": "classes"})


def test_outputs_of_unlike_width_are_refused() -> None:
    ten, two = (Signals({"logits": torch.zeros(2, n)}) for n in (10, 2))
    with pytest.raises(ModelError, match=r"student, \[10\] for each sample, .* teacher's, \[2\]"):
        SoftTargets().check_shapes(ten, two, {"logits": "classes"})


def test_pearson_by_hand() -> None:
    # 1, 2, 3 against 1, 3, 2: deviations -1, 0, 1 and -1, 1, 0: 1 / (sqrt 2 sqrt 2)
    a, b = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 3.0, 2.0]])
    assert pearson(a, b).item() == pytest.approx(0.5)
    assert pearson(a, torch.ones(1, 3)).item() == 0.0  # a constant: no correlation


def test_dist_is_one_minus_the_correlations_of_numpy() -> None:
    own, its = softmax(STUDENT, 4), softmax(TEACHER, 4)
    over_classes = np.mean([1 - np.corrcoef(own[i], its[i])[0, 1] for i in range(3)])
    over_batch = np.mean([1 - np.corrcoef(own[:, c], its[:, c])[0, 1] for c in range(4)])
    found = dist(*tensors(STUDENT, TEACHER), temperature=4.0, class_weight=2.0, batch_weight=0.5)
    assert found.item() == pytest.approx(16 * (2 * over_classes + 0.5 * over_batch), rel=1e-4)


def test_dist_of_one_sample_compares_its_classes_alone() -> None:
    own, its = softmax(STUDENT[:1], 1), softmax(TEACHER[:1], 1)
    expected = 1 - np.corrcoef(own[0], its[0])[0, 1]
    found = dist(*tensors(STUDENT[:1], TEACHER[:1]), temperature=1.0)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def by_definition(target: list[int], alpha: float, beta: float, temperature: float) -> float:
    """DKD with probabilities, not logarithms."""
    own, its = softmax(STUDENT, temperature), softmax(TEACHER, temperature)
    rows = []
    for i, t in enumerate(target):
        p, q = own[i, t], its[i, t]
        tckd = q * math.log(q / p) + (1 - q) * math.log((1 - q) / (1 - p))
        a, b = np.delete(own[i], t) / (1 - p), np.delete(its[i], t) / (1 - q)
        rows.append(alpha * tckd + beta * float((b * np.log(b / a)).sum()))
    return temperature**2 * float(np.mean(rows))


def test_decoupled_by_its_definition() -> None:
    target = torch.tensor([2, 1, 3])
    for alpha, beta, temperature in ((1.0, 8.0, 4.0), (0.3, 0.0, 1.0), (0.0, 2.0, 2.0)):
        student, teacher = tensors(STUDENT, TEACHER)
        found = decoupled(student, teacher, target, alpha=alpha, beta=beta, temperature=temperature)
        expected = by_definition([2, 1, 3], alpha, beta, temperature)
        assert found.item() == pytest.approx(expected, rel=1e-4)


def test_decoupled_with_the_teachers_own_weights_is_soft_targets() -> None:
    """Equation 6 of the paper: beta = 1 - q of the target, one sample."""
    student, teacher = tensors(STUDENT[:1], TEACHER[:1])
    beta = 1 - float(softmax(TEACHER[:1], 2)[0, 0])
    found = decoupled(student, teacher, torch.tensor([0]), alpha=1.0, beta=beta, temperature=2.0)
    assert found.item() == pytest.approx(
        soft_targets(student, teacher, temperature=2.0).item(), rel=1e-4
    )


def test_decoupled_uses_labels_or_else_the_teachers_answer_and_leaves_pixels_out() -> None:
    student, teacher = tensors(STUDENT, TEACHER)
    term = Decoupled(alpha=1.0, beta=2.0, temperature=1.0)
    own, its = Signals({"logits": student}), Signals({"logits": teacher})
    kinds: dict[str, SignalKind] = {"logits": "classes"}
    label = {"label": torch.tensor([3, 0, 2], dtype=torch.uint8)}
    labelled = term.parts(Compared(own, its, kinds, label))["logits"]
    assert labelled.item() == pytest.approx(by_definition([3, 0, 2], 1, 2, 1), rel=1e-4)
    alone = term.parts(Compared(own, its, kinds))["logits"]
    assert alone.item() == pytest.approx(by_definition([0, 1, 1], 1, 2, 1), rel=1e-4)

    def as_map(x: Tensor) -> Signals:  # the three samples as the pixels of one map
        return Signals({"logits": x.T.reshape(1, 4, 1, 3)})

    of_maps: dict[str, SignalKind] = {"logits": "class map"}
    mask = torch.tensor([[[3, 255, 255]]], dtype=torch.uint8)
    seen = Compared(as_map(student), as_map(teacher), of_maps, {"mask": mask})
    first = decoupled(
        student[:1], teacher[:1], torch.tensor([3]), alpha=1.0, beta=2.0, temperature=1.0
    )
    assert term.parts(seen)["logits"].item() == pytest.approx(first.item(), rel=1e-5)
    nothing = {"mask": torch.full((1, 1, 3), 255, dtype=torch.uint8)}
    empty = Compared(as_map(student), as_map(teacher), of_maps, nothing)
    assert term.parts(empty)["logits"].item() == 0.0


def test_top_targets_add_up_the_rest() -> None:
    own, its = softmax(STUDENT, 2), softmax(TEACHER, 2)
    merged = []
    for p, q in zip(own, its, strict=True):
        best = np.argsort(q)[-2:]
        merged.append([np.append(x[best], 1 - x[best].sum()) for x in (p, q)])
    p, q = (np.array(x) for x in zip(*merged, strict=True))
    found = top_targets(*tensors(STUDENT, TEACHER), top=2, temperature=2.0)
    assert found.item() == pytest.approx(4 * kl(q, p), rel=1e-5)


def test_top_targets_of_all_classes_are_soft_targets() -> None:
    student, teacher = tensors(STUDENT, TEACHER)
    whole = soft_targets(student, teacher, temperature=3.0)
    for top in (4, 50):
        assert torch.equal(top_targets(student, teacher, top=top, temperature=3.0), whole)
    # the rest is one class: nothing is lost either
    near = TopTargets(top=3, temperature=3.0).compare(student, teacher)
    assert near.item() == pytest.approx(whole.item(), rel=1e-4)


def test_one_channel_is_a_logit_against_0_and_maps_are_brought_to_one_size() -> None:
    student, teacher = torch.full((1, 1, 2, 2), 0.7), torch.full((1, 2, 4, 4), -1.5)
    own, its = class_rows(student, teacher, "class map")
    assert own.tolist() == [[0.0, pytest.approx(0.7)]] * 4
    assert its.tolist() == [[-1.5, -1.5]] * 4

"""Distillation losses against cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from edgekd.distill.losses import SoftTargets, soft_labels, soft_targets, soft_values
from edgekd.errors import RecipeError


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


def test_their_gradient_does_not_fade_with_temperature() -> None:
    """The reason for the factor T^2 (Hinton 2015): at high T the gradient is (z - v) / N."""
    student = torch.tensor([[0.3, -0.3]], requires_grad=True)
    teacher = torch.tensor([[-0.2, 0.2]])
    soft_targets(student, teacher, temperature=100.0).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    torch.testing.assert_close(student.grad, (student - teacher).detach() / 2, rtol=1e-3, atol=1e-5)


def test_soft_labels_and_values_by_hand() -> None:
    # teacher sigmoid(0) = 1/2, student logit 0: cross entropy is ln 2
    assert float(soft_labels(torch.zeros(2, 3), torch.zeros(2, 3))) == pytest.approx(math.log(2))
    assert float(soft_values(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]))) == pytest.approx(
        2.5
    )


def test_the_blend_of_hard_and_soft() -> None:
    loss = SoftTargets(temperature=1.0, weight=0.25)
    hard = torch.tensor([2.0, 4.0])
    outputs = {"boxes": torch.tensor([1.0]), "logits": torch.zeros(1, 2)}
    teacher = {"boxes": torch.tensor([3.0]), "logits": torch.zeros(1, 2)}
    total = loss(outputs, teacher, hard, {"boxes": "values", "logits": "classes"})
    assert float(total) == pytest.approx(0.75 * 3.0 + 0.25 * 4.0)


def test_an_output_without_a_term_is_refused_before_work() -> None:
    with pytest.raises(RecipeError, match="'text' of kind 'tokens'"):
        SoftTargets().fits({"text": "tokens"})

"""Terms of a loss against cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from edgekd.distill.loss_options import LearnsFromTeacher
from edgekd.distill.losses import (
    Hidden,
    SoftTargets,
    mean_squared,
    soft_labels,
    soft_targets,
)
from edgekd.errors import ModelError, RecipeError
from edgekd.training.signals import Signals
from edgekd.training.terms import Schedule


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


def test_soft_targets_compare_each_output_by_its_kind() -> None:
    student = Signals({"boxes": torch.tensor([1.0]), "logits": torch.zeros(1, 2)})
    teacher = Signals({"boxes": torch.tensor([3.0]), "logits": torch.zeros(1, 2)})
    term = SoftTargets(temperature=1.0)
    parts = term.parts(student, teacher, {"boxes": "values", "logits": "classes"}, None)
    assert {name: float(value) for name, value in parts.items()} == {"boxes": 4.0, "logits": 0.0}


def test_an_output_that_a_term_cannot_compare_is_refused_before_work() -> None:
    with pytest.raises(RecipeError, match="'text' of kind 'tokens'"):
        SoftTargets().check({"text": "tokens"})
    Hidden(layers={"0": "0"}).check({"text": "tokens"})  # it looks at layers only


def test_hidden_by_hand() -> None:
    term = Hidden(layers={"body": "trunk"})
    student = Signals({}, {"body": torch.tensor([[1.0, 2.0]])})
    teacher = Signals({}, {"trunk": torch.tensor([[1.0, 1.0, 5.0]])})
    extra = term.extra(student, teacher)
    assert isinstance(extra, nn.ModuleList)
    projection = extra[0]
    assert isinstance(projection, nn.Linear)
    with torch.no_grad():
        projection.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
        projection.bias.copy_(torch.tensor([0.0, 0.0, 1.0]))
    # (1, 2) becomes (1, 2, 4); the differences are 0, 1, -1: their mean square is 2/3
    parts = term.parts(student, teacher, {}, extra)
    assert list(parts) == ["body"]
    assert parts["body"].item() == pytest.approx(2 / 3)


def test_hidden_maps_of_another_size_are_averaged_and_equal_widths_need_no_projection() -> None:
    term = Hidden(layers={"0": "0"})
    student = Signals({}, {"0": torch.zeros(1, 1, 1, 1)})
    teacher = Signals({}, {"0": torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])})
    extra = term.extra(student, teacher)
    assert extra is not None
    assert not list(extra.parameters())
    assert float(term.parts(student, teacher, {}, extra)["0"]) == 9.0  # the mean, 3, squared


def test_hidden_refuses_layers_of_unlike_shapes() -> None:
    student, teacher = (
        Signals({}, {"0": torch.zeros(2, 4, 3, 3)}),
        Signals({}, {"0": torch.zeros(2, 4)}),
    )
    with pytest.raises(ModelError, match=r"\[2, 4, 3, 3\] of the student"):
        Hidden(layers={"0": "0"}).extra(student, teacher)


@pytest.mark.parametrize(
    ("kind", "done", "factor"),
    [
        ("linear", 0.0, 2.0),
        ("linear", 0.25, 1.5),
        ("linear", 1.0, 0.0),
        ("cosine", 0.0, 2.0),
        ("cosine", 0.5, 1.0),
        ("cosine", 1 / 3, 1.5),  # (1 - cos(60 degrees)) / 2 = 1/4 of the way
        ("cosine", 1.0, 0.0),
    ],
)
def test_a_schedule_leads_from_factor_to_factor(kind: str, done: float, factor: float) -> None:
    schedule = Schedule.model_validate({"kind": kind, "from": 2.0, "to": 0.0})
    assert schedule.factor(done) == pytest.approx(factor)
    term = SoftTargets(weight=0.5, schedule=schedule)
    assert term.weight_at(done) == pytest.approx(0.5 * factor)


def test_a_weight_without_a_schedule_stays() -> None:
    assert {SoftTargets(weight=0.3).weight_at(done) for done in (0.0, 0.5, 1.0)} == {0.3}


def test_a_loss_in_which_nothing_has_a_weight_is_refused() -> None:
    with pytest.raises(ValidationError, match="nothing is learned"):
        LearnsFromTeacher(hard_weight=0.0, terms=(SoftTargets(weight=0.0),))
    assert LearnsFromTeacher(hard_weight=0.0).active  # without labels
    assert not LearnsFromTeacher(terms=()).active  # without a teacher

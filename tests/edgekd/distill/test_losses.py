"""Terms of a loss: what they compare, what they refuse, how their weights change."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from edgekd.distill.loss_options import LearnsFromTeacher
from edgekd.distill.losses import (
    Hidden,
    SoftTargets,
)
from edgekd.errors import RecipeError
from edgekd.training.signals import Signals
from edgekd.training.terms import Compared, Schedule


def test_soft_targets_compare_each_output_by_its_kind() -> None:
    student = Signals({"boxes": torch.tensor([1.0]), "logits": torch.zeros(1, 2)})
    teacher = Signals({"boxes": torch.tensor([3.0]), "logits": torch.zeros(1, 2)})
    term = SoftTargets(temperature=1.0)
    parts = term.parts(Compared(student, teacher, {"boxes": "values", "logits": "classes"}))
    assert {name: float(value) for name, value in parts.items()} == {"boxes": 4.0, "logits": 0.0}


def test_an_output_that_a_term_cannot_compare_is_refused_before_work() -> None:
    with pytest.raises(RecipeError, match="'text' of kind 'tokens'"):
        SoftTargets().check({"text": "tokens"})
    Hidden(layers={"0": "0"}).check({"text": "tokens"})  # it looks at layers only


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

"""What an audit advises can be said in a recipe: a temperature of the teacher, labels in doubt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from edgekd.data.preprocess import ArrayPreprocess, Preprocess
from edgekd.devices.local import LocalDevice
from edgekd.distill.loss_options import LearnsFromTeacher
from edgekd.distill.losses import Logits, SoftTargets
from edgekd.errors import RecipeError
from edgekd.options import Budget
from edgekd.step import Context
from edgekd.tasks.classification import Classification
from edgekd.training.loop import TEACHER, TRAINED, TrainingBatch
from edgekd.training.signals import Signals, Wanted, divide_scores
from edgekd.training.trainee import Trainee
from edgekd.training.transfer import Lesson, keep_trusted, make_objective

ODDS = math.log(3.0)  # two scores so far apart are probabilities of 0.75 and 0.25


def test_only_labels_that_a_sure_teacher_contradicts_are_left_out() -> None:
    loss = torch.tensor([1.0, 2.0, 4.0, 8.0])
    scores = torch.tensor([[ODDS, 0.0], [ODDS, 0.0], [0.0, ODDS], [9.0, 0.0]])
    label = torch.tensor([0, 1, 1, 1])
    assert keep_trusted(loss, scores, [label], 0.7).tolist() == [1.0, 4.0]
    assert keep_trusted(loss, scores, [label], 0.8).tolist() == [1.0, 2.0, 4.0]
    assert keep_trusted(loss, scores, [1 - label], 0.7).tolist() == [2.0, 8.0]
    mixed = [label, 1 - label]  # of a mixed sample either class is right
    assert keep_trusted(loss, scores, mixed, 0.7).tolist() == loss.tolist()


def test_a_batch_without_a_trusted_label_has_no_loss_but_a_slope() -> None:
    loss = torch.tensor([3.0, 5.0], requires_grad=True)
    kept = keep_trusted(loss, torch.tensor([[9.0, 0.0], [9.0, 0.0]]), [torch.tensor([1, 1])], 0.9)
    kept.mean().backward()  # type: ignore[no-untyped-call]
    assert kept.mean().item() == 0
    assert loss.grad is not None
    assert loss.grad.tolist() == [0, 0]


def test_a_temperature_divides_scores_and_nothing_else() -> None:
    ones = torch.ones(2, 3)
    given = Signals({"logits": ones, "tags": ones, "number": ones}, {"layer": ones})
    found = divide_scores(given, {"logits": "classes", "tags": "labels", "number": "values"}, 4.0)
    assert {n: t[0, 0].item() for n, t in found.outputs.items()} == {
        "logits": 0.25,
        "tags": 0.25,
        "number": 1.0,
    }
    assert found.layers["layer"][0, 0] == 1
    assert divide_scores(given, {}, 1.0) is given


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hard_weight": 0.0, "distrust_labels": 0.9}, "hard_weight = 0 all of them"),
        ({"terms": [], "hard_weight": 1.0, "distrust_labels": 0.9}, "no term with a weight"),
        ({"distrust_labels": 1.0}, "less than 1"),
        ({"teacher_temperature": 0.0}, "greater than 0"),
    ],
)
def test_what_could_not_act_is_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        LearnsFromTeacher.model_validate(options)


def test_outputs_that_are_no_scores_are_refused() -> None:
    scaled = LearnsFromTeacher(terms=(SoftTargets(),), teacher_temperature=2.0)
    scaled.check_terms({"logits": "classes"})
    with pytest.raises(RecipeError, match="teacher_temperature divides class or label scores"):
        scaled.check_terms({"value": "values"})
    doubting = LearnsFromTeacher(terms=(SoftTargets(),), distrust_labels=0.9)
    doubting.check_terms({"logits": "classes"})
    with pytest.raises(RecipeError, match="one label for each sample"):
        doubting.check_terms({"logits": "labels"})
    with pytest.raises(RecipeError, match="the data has none"):
        doubting.without_labels()


class _Fixed:
    """A teacher that always gives these scores."""

    def __init__(self, scores: torch.Tensor) -> None:
        self.scores = scores
        self.preprocesses: Mapping[str, Preprocess] = {TEACHER: ArrayPreprocess(names=("x",))}

    def signals(self, batch: TrainingBatch, wanted: Wanted) -> Signals:
        return Signals({"logits": self.scores})


def test_the_loss_of_a_step_is_made_of_both() -> None:
    guide = _Fixed(torch.tensor([[2 * ODDS, 0.0], [2 * ODDS, 0.0]]))
    lesson = Lesson(1.0, (Logits(),), guide, teacher_temperature=2.0, distrust_labels=0.8)
    task = Classification()
    context = Context(
        task=task,
        data=None,  # type: ignore[arg-type]  # the loss reads none
        teachers=(),
        device=LocalDevice(),
        budget=Budget(),
        seed=0,
        root=Path(),
        identity={},
    )
    trainee = Trainee(nn.Identity())  # type: ignore[arg-type]  # it is not run
    objective = make_objective(trainee, lesson, context, ArrayPreprocess(names=("x",)))
    x = {"x": np.zeros((2, 2), np.float32)}
    batch = TrainingBatch(
        inputs={TRAINED: x, TEACHER: x},
        targets={"label": np.array([0, 1])},
        index=np.arange(2),
        view=None,
    )
    student = Signals({"logits": torch.tensor([[ODDS, 0.0], [ODDS, 0.0]])})
    hard, logits = objective(student, batch, 0.0)
    assert hard.value.item() == pytest.approx(-math.log(0.75))  # of the second: -log 0.25
    assert logits.value.item() == pytest.approx(0.0, abs=1e-6)  # halved, the teacher's are equal

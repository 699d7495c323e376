"""What is trained: taps on inner layers, and modules that are trained along and do not ship."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekd.artifact import Artifact
from edgekd.distill.loss_options import LearnsFromTeacher
from edgekd.distill.losses import Hidden, SoftTargets
from edgekd.errors import ModelError
from edgekd.networks.blueprint import Blueprint, build_network
from edgekd.networks.layers import find_layer
from edgekd.networks.trainable import Model
from edgekd.options import Training
from edgekd.progress import Silent, Tick
from edgekd.step import Context
from edgekd.training.trainee import Trainee, tap_layers


def test_taps_return_inner_layers_and_leave_no_hook() -> None:
    body = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 1)))
    x = torch.randn(5, 2)
    with tap_layers(body, ("0", "1.0")) as seen:
        body(x)
    torch.testing.assert_close(seen["0"], body[0](x))
    torch.testing.assert_close(seen["1.0"], body[0](x).relu())
    assert not any(layer._forward_hooks for layer in body.modules())


def test_a_layer_that_is_not_there_is_answered_with_similar_ones() -> None:
    body = nn.Sequential()
    body.add_module("features", nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(ModelError, match=r"no layer 'feature'; similar are: features"):
        find_layer(body, "feature")


def test_a_layer_that_does_not_run_or_returns_no_tensor_is_an_error() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.idle = nn.Linear(2, 2)
            self.lstm = nn.LSTM(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.lstm(x)[0]
            return found

    body, x = Odd(), torch.zeros(1, 1, 2)
    with pytest.raises(ModelError, match="'idle' did not run"), tap_layers(body, ("idle",)):
        body(x)
    with pytest.raises(ModelError, match=r"'lstm' .* returns tuple"), tap_layers(body, ("lstm",)):
        body(x)
    assert not any(layer._forward_hooks for layer in body.modules())


INNER = {"0": "inner"}


class Killed(Exception):
    """Stands for the end of the process."""


class _Until(Silent):
    """Ends a training after so many ticks; notes what it said."""

    def __init__(self, ticks: int) -> None:
        self.left, self.notes = ticks, [""]

    @contextmanager
    def track(self, title: str, total: float) -> Iterator[Tick]:
        def tick(advance: float = 1, note: str = "") -> None:
            self.left -= 1
            self.notes.append(note)
            if self.left < 0:
                raise Killed

        yield tick


def _train(
    student: Model,
    teacher: Artifact,
    context: Context,
    work: Path,
    *,
    layers: dict[str, str] = INNER,
) -> dict[str, torch.Tensor]:
    """Train by labels and an inner layer; return the whole state of the last checkpoint."""
    loss = LearnsFromTeacher(hard_weight=0.5, terms=(Hidden(layers=layers),))
    training = Training(epochs=4, batch_size=16, learning_rate=0.05, precision="fp32")
    work.mkdir(exist_ok=True)
    loss.teach(student, teacher, context, training, work=work, title="train")
    state: dict[str, torch.Tensor] = torch.load(work / "last.pt", weights_only=True)["trainee"]
    return state


def test_modules_trained_along_learn_resume_bitwise_and_do_not_ship(
    student: Model, bare_teacher: Artifact, context: Context, tmp_path: Path
) -> None:
    untrained = {name: value.clone() for name, value in student.body.state_dict().items()}
    whole = _train(student, bare_teacher, context, tmp_path / "whole")
    shipped = student.body.state_dict()
    weight = "extra.hidden.0.weight"
    assert whole[weight].shape == (3, 4)  # from four units to the teacher's three
    assert set(shipped) == set(untrained)  # nothing of it is in the network
    student.body.load_state_dict(untrained)
    until = _Until(8)  # 3 steps an epoch: in the third one
    killed = Context(**{**vars(context), "progress": until})
    with pytest.raises(Killed):
        _train(student, bare_teacher, killed, tmp_path / "killed")
    half = torch.load(tmp_path / "killed" / "last.pt", weights_only=True)["trainee"]
    assert not torch.equal(half[weight], whole[weight])  # it learns
    student.body.load_state_dict(untrained)
    again = _train(student, bare_teacher, context, tmp_path / "killed")
    assert again.keys() == whole.keys()
    assert all(torch.equal(again[name], whole[name]) for name in whole)
    assert "hard" in until.notes[-2]
    assert "hidden" in until.notes[-2]


def test_a_layer_of_the_student_that_is_not_there_is_named(student: Model) -> None:
    from edgekd.tasks.classification import Classification

    with pytest.raises(ModelError, match=r"Sequential has no layer '9'; it begins with: 0, 1"):
        Trainee(student.deployed(Classification()), layers=("9",))


def test_a_network_teaches_by_its_layers(student: Model, context: Context, tmp_path: Path) -> None:
    torch.manual_seed(1)
    blueprint = Blueprint("nets.py:net", {"width": 6})
    folder = tmp_path / "teacher"
    folder.mkdir()
    Model(build_network(blueprint, root=context.root), blueprint, student.preprocess).save(folder)
    teacher = Artifact(folder, {"model.pt": "", "preprocess.json": ""})
    before = student.body.state_dict()["0.weight"].clone()
    _train(student, teacher, context, tmp_path / "work", layers={"0": "0"})
    assert not torch.equal(student.body.state_dict()["0.weight"], before)


def test_a_teacher_whose_terms_have_no_weight_is_not_opened(
    student: Model, context: Context, tmp_path: Path
) -> None:
    nowhere = Artifact(tmp_path / "nowhere", {})
    loss = LearnsFromTeacher(hard_weight=1.0, terms=(SoftTargets(weight=0.0),))
    training = Training(epochs=1, batch_size=16, precision="fp32")
    loss.teach(student, nowhere, context, training, work=tmp_path / "work", title="labels")
    assert "teacher's engine" not in loss.describe_environment(nowhere, "fp32")
    assert "teacher's engine" in LearnsFromTeacher().describe_environment(nowhere, "fp32")


def test_layers_that_do_not_fit_are_refused_before_training(
    student: Model, context: Context
) -> None:
    teacher = Model(
        nn.Sequential(nn.Unflatten(1, (2, 1)), nn.Flatten()), student.blueprint, student.preprocess
    )
    loss = LearnsFromTeacher(terms=(Hidden(layers={"0": "0"}),))
    with pytest.raises(ModelError, match=r"shape \[2, 4\] of the student .* \[2, 2, 1\]"):
        loss.checked(student, teacher, context)
    loss.checked(student, student, context)
    loss.checked(student, None, context)

"""A student that is cut from its teacher: as large as asked, and what cannot be done is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import ArrayPreprocess
from edgekd.errors import NothingToDo
from edgekd.networks.blueprint import Blueprint, build_network
from edgekd.networks.derive import POWERS, ROUNDS, Probe, derived, distance
from edgekd.networks.macs import count_macs
from edgekd.networks.trainable import Model, open_model
from edgekd.tasks.classification import Classification

NETS = """
import torch
from torch import nn


def net(width=96):
    return nn.Sequential(
        nn.Linear(2, width), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 2),
    )


def one():
    return nn.Linear(2, 2)


def wide_in():
    return nn.Sequential(nn.Linear(2, 16), nn.Sigmoid(), nn.Softmax(1), nn.Linear(16, 2))


class Opaque(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = net()

    def forward(self, x):
        return self.inner(x.detach()).detach() + 0 * x.sum()


class Mixed(nn.Module):
    \"\"\"Most of its work is in a layer whose channels cannot be followed.\"\"\"

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 64), nn.Linear(64, 2)
        self.side, self.back = nn.Linear(2, 24), nn.Linear(24, 2)

    def forward(self, x):
        return self.last(torch.softmax(self.first(x), 1)) + self.back(torch.relu(self.side(x)))
"""
PLANE = ArrayPreprocess(names=("x",))


@pytest.fixture
def probe(tmp_path: Path) -> Probe:
    """Points of a plane; a point's class is the sign of its first axis."""
    (tmp_path / "nets.py").write_text(NETS)
    x = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    dataset = Dataset("array", {"x": x}, {"label": (x[:, 0] > 0).astype(np.int64)})
    data = Data(dataset, {"train": np.arange(200)}, augment=Augment(), seed=0)
    return Probe(data, Classification(), temperature=4.0, seed=0, samples=128)


def model_of(name: str, folder: Path) -> Model:
    torch.manual_seed(0)
    blueprint = Blueprint(f"nets.py:{name}", {})
    return Model(build_network(blueprint, root=folder), blueprint, PLANE)


def macs(model: Model) -> float:
    return count_macs(model.body, torch.zeros(1, 2)).total


def test_it_has_the_multiplications_that_were_asked_and_is_rebuilt(
    probe: Probe, tmp_path: Path
) -> None:
    teacher = model_of("net", tmp_path)
    before = {name: tensor.clone() for name, tensor in teacher.body.state_dict().items()}
    student = derived(teacher, probe, macs=0.4, rounds=1, powers=(2.0,))
    share = macs(student) / macs(teacher)
    assert 0.3 < share <= 0.4
    widths = {len(p) for name, p in student.body.named_parameters() if not name.startswith("6")}
    assert all(width % 8 == 0 for width in widths)
    assert not student.notes
    assert all(torch.equal(before[n], tensor) for n, tensor in teacher.body.state_dict().items())
    student.save(tmp_path)
    again = open_model(tmp_path, root=tmp_path).body.eval()
    x = torch.randn(5, 2)
    assert torch.equal(again(x), student.body(x))
    twice = derived(teacher, probe, macs=0.4, rounds=1, powers=(2.0,))
    assert torch.equal(twice.body(x), student.body(x))


def test_its_batch_statistics_are_those_of_its_own_inputs(probe: Probe, tmp_path: Path) -> None:
    student = derived(model_of("net", tmp_path), probe, macs=0.5, rounds=1, powers=(2.0,))
    batches = list(probe.batches(student, size=64, order=1))
    assert [len(batch["x"]) for batch in batches] == [64, 64]
    first = student.body.get_submodule("0")
    means = torch.stack([first(batch["x"]).mean(0) for batch in batches])
    torch.testing.assert_close(student.body.get_buffer("1.running_mean"), means.mean(0))


def test_channels_that_do_nothing_go_first(probe: Probe, tmp_path: Path) -> None:
    teacher = model_of("net", tmp_path)
    with torch.no_grad():  # their other weights are the greatest of all
        teacher.body.get_parameter("0.weight")[:24] *= 30
        teacher.body.get_parameter("3.weight")[:, :24] = 0
    student = derived(teacher, probe, macs=0.5, rounds=1, powers=(2.0,))
    (edit,) = student.blueprint.edits
    assert set(range(24)).isdisjoint(edit["tensors"]["0.weight"]["0"])


def test_without_gradients_the_weights_decide_and_it_is_said(probe: Probe, tmp_path: Path) -> None:
    student = derived(model_of("Opaque", tmp_path), probe, macs=0.5, rounds=1, powers=(2.0,))
    assert 0.4 < macs(student) / macs(model_of("Opaque", tmp_path)) <= 0.5
    (note,) = student.notes
    assert "decided by the size of their weights: torch cannot differentiate it" in note


def test_where_no_channels_can_go_the_reason_is_said(probe: Probe, tmp_path: Path) -> None:
    with pytest.raises(NothingToDo, match=r"no channels of it can be removed.*; give another"):
        derived(
            model_of("one", tmp_path),
            probe,
            macs=0.5,
            rounds=1,
            powers=(2.0,),
            way_out="give another",
        )
    with pytest.raises(NothingToDo, match="softmax goes over its channels"):
        derived(model_of("wide_in", tmp_path), probe, macs=0.5, rounds=1, powers=(2.0,))


def test_a_share_out_of_reach_is_said_with_what_stays(probe: Probe, tmp_path: Path) -> None:
    student = derived(
        model_of("Mixed", tmp_path),
        probe,
        macs=0.5,
        rounds=1,
        powers=(2.0,),
        way_out="give another",
    )
    assert macs(student) == 64 * 4 + 8 * 4
    (note,) = student.notes
    assert "82% of the teacher's multiplications, not 50%" in note
    assert "first: softmax goes over its channels" in note
    assert note.endswith("give another")


def test_the_student_nearest_to_the_teacher_is_taken(probe: Probe, tmp_path: Path) -> None:
    teacher = model_of("net", tmp_path)
    each = [derived(teacher, probe, macs=0.5, rounds=1, powers=(p,)) for p in POWERS]
    best = derived(teacher, probe, macs=0.5, rounds=1)
    away = [distance(teacher, one, probe) for one in each]
    assert distance(teacher, best, probe) == min(away) < max(away)
    assert distance(teacher, teacher, probe) == 0


def test_rounds_are_recorded_and_reach_the_share(probe: Probe, tmp_path: Path) -> None:
    teacher = model_of("net", tmp_path)
    student = derived(teacher, probe, macs=0.3, powers=(2.0,))
    assert 0.2 < macs(student) / macs(teacher) <= 0.3
    assert len(student.blueprint.edits) == ROUNDS


def test_a_frozen_teacher_gives_a_student_that_learns(probe: Probe, tmp_path: Path) -> None:
    teacher = model_of("net", tmp_path)
    teacher.body.requires_grad_(False)
    student = derived(
        teacher, dataclasses.replace(probe, samples=16), macs=0.5, rounds=1, powers=(2.0,)
    )
    assert all(p.requires_grad for p in student.body.parameters())


def test_regression_is_measured_too(probe: Probe, tmp_path: Path) -> None:
    from edgekd.tasks.regression import Regression

    teacher = model_of("net", tmp_path)
    student = derived(
        teacher, dataclasses.replace(probe, task=Regression()), macs=0.5, rounds=1, powers=(2.0,)
    )
    assert macs(student) <= 0.5 * macs(teacher)
    assert not student.notes

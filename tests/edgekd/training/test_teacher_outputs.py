"""Teachers answer by one protocol: a network with taps, a bare file, several at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgekd.artifact import Artifact
from edgekd.errors import ModelError
from edgekd.networks.trainable import Model
from edgekd.step import Context
from edgekd.tasks.classification import Classification
from edgekd.training.loop import TEACHER, TrainingBatch
from edgekd.training.signals import Wanted
from edgekd.training.teacher_file import FileOutputs
from edgekd.training.teacher_outputs import (
    MeanOutputs,
    NetworkOutputs,
    TeacherOutputs,
    open_teacher,
)
from edgekd.training.trainee import Trainee

X = np.array([[1.0, 0.0], [0.0, 1.0], [-2.0, 3.0]], np.float32)
INNER = np.array([[1, 2, 0], [0, 0, 1], [-2, -4, 3]], np.float32)  # by hand, see conftest
LOGITS = np.array([[-3, 3], [0, 0], [6, -6]], np.float32)


def batch(*names: str) -> TrainingBatch:
    """Three samples for networks of these names."""
    return TrainingBatch({name: {"x": X} for name in names}, {}, np.arange(3), None)


def opened(artifact: Artifact, context: Context, wanted: Wanted, work: Path) -> TeacherOutputs:
    return open_teacher(artifact, context, "fp32", wanted, work=work)


def test_a_bare_file_answers_any_number_of_samples_with_its_inner_values(
    bare_teacher: Artifact, context: Context, tmp_path: Path
) -> None:
    wanted = Wanted(layers=("inner",))
    found = opened(bare_teacher, context, wanted, tmp_path).signals(batch(TEACHER), wanted)
    np.testing.assert_array_equal(found.outputs["logits"].numpy(), LOGITS)
    np.testing.assert_array_equal(found.layers["inner"].numpy(), INNER)
    forty = TrainingBatch({TEACHER: {"x": np.tile(X, (13, 1))}}, {}, np.arange(39), None)
    many = opened(bare_teacher, context, wanted, tmp_path).signals(forty, wanted)
    np.testing.assert_array_equal(many.outputs["logits"].numpy(), np.tile(LOGITS, (13, 1)))


def test_a_value_that_a_bare_file_does_not_have_is_named(
    bare_teacher: Artifact, context: Context, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="no inner value 'inside'; similar are: inner"):
        opened(bare_teacher, context, Wanted(layers=("inside",)), tmp_path)


def test_openvino_gives_the_inner_values_too(bare_teacher: Artifact, context: Context) -> None:
    pytest.importorskip("openvino")
    wanted = Wanted(layers=("inner",))
    outputs = open_teacher(bare_teacher, context, "bf16", wanted, work=bare_teacher.folder)
    found = outputs.signals(batch(TEACHER), wanted)
    np.testing.assert_allclose(found.layers["inner"].numpy(), INNER, rtol=2**-6)
    np.testing.assert_allclose(found.outputs["logits"].numpy(), LOGITS, rtol=2**-6)


def test_a_network_answers_with_its_inner_layers_in_evaluation_mode(
    student: Model, context: Context
) -> None:
    network = Trainee(student.deployed(context.task), layers=("0",))
    outputs = NetworkOutputs(network, student.preprocess, "fp32")
    found = outputs.signals(batch(TEACHER), Wanted(layers=("0",)))
    x = torch.as_tensor(X)
    student.body.eval()  # so without dropout
    torch.testing.assert_close(found.outputs["logits"], student.body(x))
    torch.testing.assert_close(found.layers["0"], student.body.get_submodule("0")(x))
    assert not found.outputs["logits"].requires_grad


def test_several_teachers_give_the_weighted_mean(bare_teacher: Artifact, student: Model) -> None:
    task, path = Classification(), bare_teacher.onnx("fp32")
    members: list[TeacherOutputs] = [
        FileOutputs(path, student.preprocess, task, "fp32", name="first"),
        NetworkOutputs(Trainee(student.deployed(task)), student.preprocess, "fp32", name="second"),
    ]
    both = MeanOutputs(members, (3.0, 1.0))
    assert list(both.preprocesses) == ["first", "second"]
    found = both.signals(batch("first", "second"), Wanted()).outputs["logits"]
    second = student.body.eval()(torch.as_tensor(X)).detach()
    torch.testing.assert_close(found, 0.75 * torch.as_tensor(LOGITS) + 0.25 * second)
    with pytest.raises(ModelError, match="no common layer 'inner'"):
        both.signals(batch("first", "second"), Wanted(layers=("inner",)))

"""The outputs of teachers for a batch: one protocol, whatever computes them.

A teacher costs as much as the student's own step, often more, so where it runs matters:
`python -m edgekd.benchmarks.trials.training` times OpenVINO in bfloat16 against the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from edgekd.artifact import FP32, Artifact
from edgekd.data.preprocess import Preprocess, read_preprocess
from edgekd.errors import ModelError
from edgekd.networks.trainable import open_model
from edgekd.step import Context
from edgekd.training.loop import TEACHER, TrainingBatch, choose_device, place, to_tensors
from edgekd.training.precision import computing
from edgekd.training.signals import Signals, Wanted
from edgekd.training.teacher_file import FileOutputs, add_outputs
from edgekd.training.trainee import Trainee

CPU = torch.device("cpu")


class TeacherOutputs(Protocol):
    """A source of a teacher's signals, on the device of the training."""

    @property
    def preprocesses(self) -> Mapping[str, Preprocess]:
        """The preprocessing of its inputs, by their name in a batch."""

    def signals(self, batch: TrainingBatch, wanted: Wanted) -> Signals:
        """Return what is wanted; no gradient flows back.

        Raises:
            ModelError: the layer does not exist.
        """


def open_teacher(
    teacher: Artifact, context: Context, precision: str, wanted: Wanted, *, work: Path
) -> TeacherOutputs:
    """Return the outputs of a teacher, on the device and in the precision of a training.

    On a CPU they come from the exported file, whose batch norms are folded; inner layers have
    their names in the network only. A bare ONNX file always answers on the CPU.

    Args:
        teacher: a network with its export, or a bare ONNX file.
        context: task and the folder of the user's code.
        precision: of the training.
        wanted: all signals that will be needed.
        work: a folder for a copy of a file with more outputs.
    """
    preprocess = read_preprocess(teacher.folder)
    if not answers_by_file(teacher, wanted):
        network = open_model(teacher.folder, root=context.root).deployed(context.task)
        return NetworkOutputs(Trainee(network, layers=wanted.layers), preprocess, precision)
    path = teacher.onnx(FP32)
    if wanted.layers:
        path = add_outputs(path, wanted.layers, work / "teacher.onnx")
    return FileOutputs(path, preprocess, context.task, precision)


def answers_by_file(teacher: Artifact, wanted: Wanted) -> bool:
    """Whether a teacher answers by its ONNX file, not by its network."""
    if not teacher.trainable:
        return True
    on_cpu = choose_device().type == "cpu"
    return on_cpu and bool(teacher.variants) and not wanted.inner


class NetworkOutputs:
    """A network in torch; inner layers by their path."""

    def __init__(
        self, teacher: Trainee, preprocess: Preprocess, precision: str, *, name: str = TEACHER
    ) -> None:
        """Move the network to the device of the training."""
        self.preprocesses: Mapping[str, Preprocess] = {name: preprocess}
        self._name, self._precision, self._device = name, precision, choose_device()
        self._teacher = teacher.eval()
        place(teacher, self._device)

    def signals(self, batch: TrainingBatch, wanted: Wanted) -> Signals:
        inputs = to_tensors(batch.inputs[self._name], self._device)
        with torch.no_grad(), computing(self._precision, self._device):
            found: Signals = self._teacher(inputs)
        return found


@dataclass(frozen=True)
class MeanOutputs:
    """Several teachers as one: the weighted mean of each output. They have no common layers."""

    members: Sequence[TeacherOutputs]
    """Their inputs have different names in a batch."""
    weights: Sequence[float]
    """One each; they need not sum to 1."""

    @property
    def preprocesses(self) -> Mapping[str, Preprocess]:
        """Those of all members."""
        return {name: p for member in self.members for name, p in member.preprocesses.items()}

    def signals(self, batch: TrainingBatch, wanted: Wanted) -> Signals:
        if wanted.layers:
            raise ModelError(
                f"several teachers have no common layer {wanted.layers[0]!r}; give one teacher, "
                "or leave out the loss term that compares layers"
            )
        given = [member.signals(batch, wanted).outputs for member in self.members]
        total = sum(self.weights)
        shares = [weight / total for weight in self.weights]

        def mean(name: str) -> torch.Tensor:
            weighted = [s * outputs[name] for s, outputs in zip(shares, given, strict=True)]
            return torch.stack(weighted).sum(0)

        return Signals({name: mean(name) for name in given[0]})

"""What teachers give for a batch: one protocol, whatever computes it.

A teacher costs as much as the student's own step, often more, so where it runs matters:
`python -m edgekd.benchmarks.trials.training` times OpenVINO in bfloat16 against the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from edgekd.artifact import FP32, Artifact
from edgekd.benchmarks.runtimes import missing, version
from edgekd.benchmarks.runtimes.openvino_engine import import_openvino
from edgekd.data.dataset import Arrays
from edgekd.data.preprocess import Preprocess, read_preprocess
from edgekd.errors import ModelError
from edgekd.exporters.ort_session import batch_size, predictor
from edgekd.networks.trainable import open_model
from edgekd.step import Context
from edgekd.tasks.task import Task, by_signal
from edgekd.training.environment import describe_environment as describe_training
from edgekd.training.loop import TrainingBatch, device_of_training, place, to_tensors
from edgekd.training.precision import autocast_dtype, computing
from edgekd.training.signals import Signals, Wanted
from edgekd.training.trainee import Trainee, describe_near

TEACHER = "teacher"
"""The name under which a batch holds the inputs of a lone teacher."""
CPU = torch.device("cpu")
Predictor = Callable[[Arrays], Arrays]


class TeacherOutputs(Protocol):
    """What gives a teacher's signals, on the device of the training."""

    @property
    def preprocesses(self) -> Mapping[str, Preprocess]:
        """How samples become its inputs, by the name that these have in a batch."""

    def signals(self, batch: TrainingBatch, wanted: Wanted) -> Signals:
        """Return what is wanted; no gradient flows back.

        Raises:
            ModelError: it has no such layer.
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
        wanted: all that will be asked for.
        work: a folder for a copy of a file with more outputs.
    """
    preprocess, device = read_preprocess(teacher.folder), device_of_training()
    if teacher.trainable and (device.type != "cpu" or wanted.layers or not teacher.variants):
        network = open_model(teacher.folder, root=context.root).deployed(context.task)
        return NetworkOutputs(Trainee(network, layers=wanted.layers), preprocess, precision)
    path = teacher.onnx(FP32)
    if wanted.layers:
        path = with_outputs(path, wanted.layers, work / "teacher.onnx")
    in_bf16 = autocast_dtype(precision, CPU) is not None
    return FileOutputs(path, preprocess, context.task, in_bf16=in_bf16)


def describe_environment(precision: str) -> dict[str, str]:
    """Return what of this machine changes a training that learns from a teacher."""
    engines = ["onnxruntime"]
    if autocast_dtype(precision, CPU) is not None and not missing("openvino"):
        engines.insert(0, "openvino")
    engine = ", else ".join(version(name) for name in engines)
    return {**describe_training(precision), "teacher's engine": engine}


class NetworkOutputs:
    """A network in torch; inner layers by their path."""

    def __init__(
        self, teacher: Trainee, preprocess: Preprocess, precision: str, *, name: str = TEACHER
    ) -> None:
        """Move the network to the device of the training."""
        self.preprocesses: Mapping[str, Preprocess] = {name: preprocess}
        self._name, self._precision, self._device = name, precision, device_of_training()
        self._teacher = teacher.eval()
        place(teacher, self._device)

    def signals(self, batch: TrainingBatch, wanted: Wanted) -> Signals:
        inputs = to_tensors(batch.inputs[self._name], self._device)
        with torch.no_grad(), computing(self._precision, self._device):
            found: Signals = self._teacher(inputs)
        return found


class FileOutputs:
    """An ONNX file on the CPU; inner layers by the names of values, if it has them as outputs."""

    def __init__(
        self,
        path: Path,
        preprocess: Preprocess,
        task: Task,
        *,
        in_bf16: bool,
        name: str = TEACHER,
    ) -> None:
        """Open the file: in bfloat16 by OpenVINO where it can, else in ONNX Runtime."""
        self.preprocesses: Mapping[str, Preprocess] = {name: preprocess}
        self._name, self._task, self._device = name, task, device_of_training()
        threads = torch.get_num_threads()
        predict = openvino_in_bf16(path, threads=threads) if in_bf16 else None
        fixed = batch_size(path, default=0)
        self._predict = predict or predictor(path, threads=threads)
        if fixed:
            self._predict = in_batches_of(fixed, self._predict)

    def signals(self, batch: TrainingBatch, wanted: Wanted) -> Signals:
        found = dict(self._predict(batch.inputs[self._name]))
        layers = {name: found.pop(name) for name in wanted.layers}
        outputs = by_signal(found, self._task)
        return Signals(to_tensors(outputs, self._device), to_tensors(layers, self._device))


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

        def mean(name: str) -> torch.Tensor:
            weighed = zip(self.weights, given, strict=True)
            return torch.stack([weight / total * outputs[name] for weight, outputs in weighed]).sum(
                0
            )

        return Signals({name: mean(name) for name in given[0]})


def in_batches_of(size: int, predict: Predictor) -> Predictor:
    """Return `predict` for any number of samples, where it takes `size` of them at once.

    The last samples are repeated to fill the last batch.
    """

    def run(inputs: Arrays) -> Arrays:
        samples = len(next(iter(inputs.values())))
        rows = np.minimum(np.arange(-(-samples // size) * size), samples - 1)
        found = [
            predict({name: array[rows[start : start + size]] for name, array in inputs.items()})
            for start in range(0, len(rows), size)
        ]
        return {name: np.concatenate([part[name] for part in found])[:samples] for name in found[0]}

    return run


def with_outputs(path: Path, names: Sequence[str], target: Path) -> Path:
    """Write a copy of an ONNX file that also returns inner values; return its path.

    Raises:
        ModelError: the graph has no value of one of these names.
    """
    import onnx

    from edgekd.exporters.onnx_files import load_onnx, save_onnx

    model = load_onnx(path)
    outputs = {output.name for output in model.graph.output}
    inner = [name for node in model.graph.node for name in node.output if name]
    inner = [name for name in inner if name not in outputs]
    for name in names:
        if name not in inner:
            raise ModelError(f"{path} has no inner value {name!r}; {describe_near(name, inner)}")
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    save_onnx(model, target)
    return target


def openvino_in_bf16(path: Path, *, threads: int) -> Predictor | None:
    """Return a function from named inputs to named outputs, or None where OpenVINO cannot."""
    if missing("openvino"):
        return None
    core = import_openvino().Core()
    properties = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        model = core.compile_model(core.read_model(path), "CPU", properties)
    except RuntimeError:  # an operator that it does not have: ONNX Runtime then, in float32
        return None
    wanted = [port.any_name for port in model.inputs]

    def predict(inputs: Arrays) -> Arrays:
        found = model({name: inputs[name] for name in wanted})
        return {port.any_name: np.asarray(found[port]) for port in model.outputs}

    return predict

"""An ONNX file as a teacher: through OpenVINO in bfloat16 if possible, else ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch

from edgekd.benchmarks.runtimes import missing, version
from edgekd.benchmarks.runtimes.openvino_engine import import_openvino
from edgekd.data.dataset import Arrays
from edgekd.data.preprocess import Preprocess
from edgekd.devices.local import processor_name
from edgekd.errors import ModelError
from edgekd.exporters.onnx_files import load_onnx, save_onnx
from edgekd.exporters.ort_session import batch_size, in_batches_of, predictor
from edgekd.networks.layers import describe_similar
from edgekd.tasks.task import Task, name_outputs
from edgekd.training.loop import TEACHER, TrainingBatch, choose_device, to_tensors
from edgekd.training.precision import autocast_dtype
from edgekd.training.signals import Signals, Wanted

Predictor = Callable[[Arrays], Arrays]


class FileOutputs:
    """An ONNX file on the CPU; inner layers by the names of values, if it has them as outputs."""

    def __init__(
        self,
        path: Path,
        preprocess: Preprocess,
        task: Task,
        precision: str,
        *,
        name: str = TEACHER,
    ) -> None:
        """Open the file: in bfloat16 by OpenVINO where it can, else in ONNX Runtime."""
        self.preprocesses: Mapping[str, Preprocess] = {name: preprocess}
        self._name, self._task, self._device = name, task, choose_device()
        threads = torch.get_num_threads()
        predict = openvino_in_bf16(path, threads=threads) if _in_bf16(precision) else None
        fixed = batch_size(path, default=0)
        if predict is not None and fixed:
            predict = in_batches_of(fixed, predict)
        self._predict = predict or predictor(path, threads=threads)

    def signals(self, batch: TrainingBatch, wanted: Wanted) -> Signals:
        found = dict(self._predict(batch.inputs[self._name]))
        layers = {name: found.pop(name) for name in wanted.layers}
        outputs = name_outputs(found, self._task)
        return Signals(to_tensors(outputs, self._device), to_tensors(layers, self._device))


def describe_engine(precision: str) -> dict[str, str]:
    """Return what of this machine changes the answers of a file in a training of this precision."""
    engines = ["onnxruntime"]
    if _in_bf16(precision) and not missing("openvino"):
        engines.insert(0, "openvino")
    return {
        "teacher's engine": ", else ".join(version(name) for name in engines),
        "teacher's device": processor_name(),
        "teacher's threads": str(torch.get_num_threads()),
    }


def _in_bf16(precision: str) -> bool:
    """Whether files answer in bfloat16, where an engine can, in a training of this precision."""
    return autocast_dtype(precision, torch.device("cpu")) is not None


def add_outputs(path: Path, names: Sequence[str], target: Path) -> Path:
    """Write a copy of an ONNX file that also returns inner values; return its path.

    Raises:
        ModelError: the graph has no value of one of these names.
    """
    model = load_onnx(path)
    outputs = {output.name for output in model.graph.output}
    inner = [name for node in model.graph.node for name in node.output if name]
    inner = [name for name in inner if name not in outputs]
    for name in names:
        if name not in inner:
            raise ModelError(f"{path} has no inner value {name!r}; {describe_similar(name, inner)}")
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

"""A teacher's answers to its view of every batch, as fast as this machine can give them.

They cost as much as the student's own step, often more, so where they are computed matters:
`python -m edgekd.benchmarks.trials.training` times OpenVINO in bfloat16 against the others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from edgekd.artifact import FP32, Artifact
from edgekd.benchmarks.runtimes import missing, version
from edgekd.benchmarks.runtimes.openvino_engine import import_openvino
from edgekd.data.batches import Batch
from edgekd.data.dataset import Arrays
from edgekd.exporters.ort_session import predictor
from edgekd.networks.trainable import open_model
from edgekd.options import Training
from edgekd.step import Context
from edgekd.tasks.task import Task, by_signal
from edgekd.training.environment import describe_environment as training_environment
from edgekd.training.loop import Outputs, device_of_training, forward, place
from edgekd.training.precision import autocast_dtype, computing

Answers = Callable[[Batch], Outputs]


def answers(
    teacher: Artifact, context: Context, training: Training, device: torch.device
) -> Answers:
    """Return what gives the teacher's answers, on the device and in the precision of a training.

    On a CPU they come from the exported file, whose batch norms are folded.
    """
    if device.type == "cpu" and FP32 in teacher.variants:
        in_bf16 = autocast_dtype(training.precision, device) is not None
        return _from_file(teacher.onnx(FP32), context.task, in_bf16=in_bf16)
    network = open_model(teacher.folder, root=context.root).deployed(context.task).eval()
    place(network, device)

    def answer(batch: Batch) -> Outputs:
        with torch.no_grad(), computing(training.precision, device):
            return forward(network, batch, 1, device)

    return answer


def describe_environment(precision: str) -> dict[str, str]:
    """Return what of this machine changes a training that has a teacher's answers for targets."""
    device = device_of_training()
    found = training_environment(precision)
    if device.type != "cpu":
        return found  # the network answers itself
    engines = ["onnxruntime"]
    if autocast_dtype(precision, device) is not None and not missing("openvino"):
        engines.insert(0, "openvino")
    return {**found, "teacher's engine": ", else ".join(version(name) for name in engines)}


def _from_file(path: Path, task: Task, *, in_bf16: bool) -> Answers:
    threads = torch.get_num_threads()
    predict = openvino_in_bf16(path, threads=threads) if in_bf16 else None
    predict = predict or predictor(path, threads=threads)

    def answer(batch: Batch) -> Outputs:
        found = by_signal(predict(batch.inputs[1]), task)
        return {name: torch.as_tensor(array) for name, array in found.items()}

    return answer


def openvino_in_bf16(path: Path, *, threads: int) -> Callable[[Arrays], Arrays] | None:
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

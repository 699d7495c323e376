"""Knowledge goes from a teacher's outputs into a student: used by distillation and by recovery."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from edgekd.artifact import Artifact
from edgekd.assembly import Model, open_model
from edgekd.data.feed import Batch
from edgekd.data.preprocess import read_preprocess
from edgekd.distill.losses import Loss
from edgekd.exporters.parity import session_predictor
from edgekd.options import Training
from edgekd.precision import computing
from edgekd.quality import by_signal
from edgekd.step import Context
from edgekd.task import Task
from edgekd.train import (
    Course,
    Outputs,
    device_of_training,
    fit,
    forward,
    to_tensors,
)


def transfer(
    student: Model,
    teacher: Artifact,
    context: Context,
    loss: Loss,
    training: Training,
    *,
    work: Path,
    title: str,
) -> None:
    """Train `student.body` in place; teacher and student see the same view of every sample."""
    loss.fits(context.task.signals)
    data, device = context.data, device_of_training()
    preprocess = read_preprocess(teacher.folder)
    guide = _guide(teacher, context, training, device)

    def batches(epoch: int) -> Iterator[Batch]:
        size = training.batch_size
        return data.batches("train", student.preprocess, preprocess, size=size, epoch=epoch)

    def objective(outputs: Outputs, batch: Batch) -> Tensor:
        hard = context.task.loss(outputs, to_tensors(batch.targets, device))
        return loss(outputs, guide(batch), hard, context.task.signals)

    fit(
        student.deployed(context.task),
        Course(batches, data.count("train")),
        objective,
        training,
        seed=context.seed,
        work=work,
        progress=context.progress,
        title=title,
    )


def _guide(
    teacher: Artifact, context: Context, training: Training, device: torch.device
) -> Callable[[Batch], Outputs]:
    """Return what gives the teacher's answers to its view of a batch.

    On a CPU that is its exported file: ONNX Runtime has batch norm folded and answers faster in
    float32 than the network does in bf16.
    """
    if device.type == "cpu" and "fp32" in teacher.variants:
        return _from_file(teacher.onnx("fp32"), context.task)
    network = open_model(teacher, root=context.root).deployed(context.task).to(device).eval()
    if any(p.ndim == 4 for p in network.parameters()):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def answer(batch: Batch) -> Outputs:
        with torch.no_grad(), computing(training.precision, device):
            return forward(network, batch, 1, device)

    return answer


def _from_file(path: Path, task: Task) -> Callable[[Batch], Outputs]:
    predict = session_predictor(path, threads=torch.get_num_threads())

    def answer(batch: Batch) -> Outputs:
        answers = by_signal(predict(batch.inputs[1]), task)
        return {name: torch.as_tensor(array) for name, array in answers.items()}

    return answer

"""Knowledge goes from a teacher's outputs into a student: used by distillation and by recovery."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from edgekd.assembly import Model
from edgekd.data.feed import Batch
from edgekd.distill.losses import Loss
from edgekd.options import Training
from edgekd.step import Context
from edgekd.train import (
    Course,
    Objective,
    Outputs,
    autocast_dtype,
    device_of_training,
    fit,
    forward,
    to_tensors,
)


def transfer(
    student: Model,
    teacher: Model,
    context: Context,
    loss: Loss,
    training: Training,
    *,
    work: Path,
    title: str,
) -> None:
    """Train `student.body` in place; teacher and student see the same view of every sample."""
    loss.fits(context.task.signals)
    data = context.data
    course = Course(
        batches=lambda epoch: data.batches(
            "train",
            student.preprocess,
            teacher.preprocess,
            size=training.batch_size,
            epoch=epoch,
        ),
        samples=data.count("train"),
    )
    fit(
        student.deployed(context.task),
        course,
        _objective(teacher, context, loss, training),
        training,
        seed=context.seed,
        work=work,
        progress=context.progress,
        title=title,
    )


def _objective(teacher: Model, context: Context, loss: Loss, training: Training) -> Objective:
    device = device_of_training()
    dtype = autocast_dtype(training.precision, device)
    guide = teacher.deployed(context.task).to(device).eval()
    if any(p.ndim == 4 for p in guide.parameters()):
        guide.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def objective(outputs: Outputs, batch: Batch) -> Tensor:
        with torch.no_grad(), torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            answers = forward(guide, batch, 1, device)
        hard = context.task.loss(outputs, to_tensors(batch.targets, device))
        return loss(outputs, answers, hard, context.task.signals)

    return objective

"""Knowledge goes from a teacher's outputs into a student: used by distillation and by recovery."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from edgekd.artifact import Artifact
from edgekd.data.batches import Batch
from edgekd.data.preprocess import read_preprocess
from edgekd.distill.losses import Loss
from edgekd.networks.trainable import Model
from edgekd.options import Training
from edgekd.step import Context
from edgekd.training.loop import Course, Outputs, device_of_training, fit, to_tensors
from edgekd.training.teacher_outputs import answers


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
    guide = answers(teacher, context, training, device)

    def batches(epoch: int) -> Iterator[Batch]:
        size = training.batch_size
        both = (student.preprocess, preprocess)
        return data.batches("train", *both, size=size, order=epoch, view=epoch)

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

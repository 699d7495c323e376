"""Early stopping: the first metric on validation after every epoch, and the best weights so far."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from edgekd.data.batches import Data
from edgekd.data.preprocess import Preprocess
from edgekd.errors import DataError, RecipeError
from edgekd.evaluation.reduced import reduce_split
from edgekd.options import Training
from edgekd.tasks.task import Arrays, Metric, Task
from edgekd.training.trainee import Trainee


@dataclass(frozen=True)
class Judge:
    """What a training is stopped by."""

    metric: Metric
    measure: Callable[[Trainee], float]
    """The metric of a network in evaluation mode."""

    @property
    def title(self) -> str:
        """The name of its curve."""
        return f"validation {self.metric.name}"

    def is_better(self, value: float, than: float) -> bool:
        """Whether `value` is an improvement; a value that is not a number never is."""
        return value > than if self.metric.better == "higher" else value < than


@dataclass
class Best:
    """The best epoch so far."""

    epoch: int = -1
    """-1: there is none."""
    value: float = float("nan")
    state: dict[str, Tensor] = field(default_factory=dict)

    def take(self, judge: Judge, epoch: int, value: float, trainee: Trainee) -> None:
        """Keep the weights of `trainee` if `value` is better than all before."""
        is_first = self.epoch < 0 or math.isnan(self.value)
        if not is_first and not judge.is_better(value, self.value):
            return
        self.epoch, self.value = epoch, value
        self.state = {name: one.detach().clone() for name, one in trainee.state_dict().items()}

    def is_over(self, epochs: int, patience: int) -> bool:
        """Whether the last `patience` of `epochs` epochs brought no improvement."""
        return self.epoch >= 0 and epochs - 1 - self.epoch >= patience

    def describe(self, judge: Judge, epochs: int, planned: int) -> str:
        """Return a line on which weights ship, after `epochs` of the planned ones."""
        unit = f" {judge.metric.unit}".rstrip()
        ended = f"stopped after epoch {epochs} of {planned}; " if epochs < planned else ""
        return (
            f"early stopping: {ended}the weights of epoch {self.epoch + 1} ship, whose "
            f"{judge.metric.name} on validation was best: {self.value:.4g}{unit}"
        )


def check_early_stop(training: Training, task: Task, data: Data) -> None:
    """Refuse a training that is to be stopped by a metric that cannot be computed.

    Raises:
        RecipeError: the first metric compares with the teacher, or is not there.
        DataError: there is no validation split.
    """
    if training.patience is None:
        return
    if not task.metrics or task.metrics[0].against_teacher:
        raise RecipeError(
            "patience stops a training by the first metric on validation, but without labels it "
            "only says how near a model is to the teacher; remove patience, or give labels"
        )
    if not data.count("validation"):
        raise DataError(
            "patience stops a training by the validation split, but this is empty; give a larger "
            "share (data.validation), or remove patience"
        )


def make_judge(
    task: Task, data: Data, preprocess: Preprocess, *, size: int, device: torch.device
) -> Judge:
    """Return what measures the first metric of `task` on the validation split.

    Float32 is used, as the exported file does, whatever the precision of the training.
    """

    def measure(trainee: Trainee) -> float:
        def predict(inputs: Arrays) -> Arrays:
            tensors = {n: torch.as_tensor(a).to(device) for n, a in inputs.items()}
            with torch.no_grad():
                outputs = trainee(tensors).outputs
            return {name: np.asarray(o.float().cpu().numpy()) for name, o in outputs.items()}

        found = reduce_split(predict, task, data, "validation", preprocess, size=size, teacher=None)
        return task.metrics[0].of(found.arrays)

    return Judge(task.metrics[0], measure)

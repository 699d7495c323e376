"""The protocol of a task, and its metrics. Only tasks know of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError, ModelError
from edgekd.wording import option

if TYPE_CHECKING:
    from torch import Tensor

Arrays = Mapping[str, NDArray[Any]]
Predictor = Callable[[Arrays], Arrays]
Floor = Literal["min_snr", "min_agreement"]
SignalKind = Literal["classes", "class map", "labels", "values", "embedding", "tokens"]
Target = Literal["label", "labels", "value", "mask", "identity"]
"""What targets are read as: a class, 0 or 1 for each label, numbers, a class for each pixel, or
who or what a sample shows: any number or name, which becomes the target "label"."""


class HasShape(Protocol):
    """An array or a tensor."""

    @property
    def shape(self) -> Sequence[int]:
        """Its lengths."""


@dataclass(frozen=True)
class Metric:
    """A number for what the task keeps of a model's predictions (`Task.reduce`).

    `values` returns one number per sample, whose mean is the metric. A metric that is not a mean
    over samples has `whole` instead.
    """

    name: str
    unit: str
    values: Callable[[Arrays], NDArray[np.float64]] | None = None
    whole: Callable[[Arrays], float] | None = None
    better: Literal["higher", "lower"] = "higher"
    is_percentage: bool = False
    """Whether it is a share in percent."""
    against_teacher: bool = False
    """Whether it says how near predictions are to the teacher's. The teacher's own value, and a
    gain relative to the teacher, then mean nothing and are not shown."""
    chance: Callable[[Arrays], float] | None = None
    """What a guess gets that does not look at the sample, from the targets that are kept; None:
    not known, and nothing is compared with it."""
    floor: Floor | None = None
    """The key of the budget that says how low it may be. Where the task has such metrics, the gate
    judges them and not the loss relative to the teacher."""

    @property
    def difference_unit(self) -> str:
        """The unit of differences."""
        return "points" if self.is_percentage else self.unit

    def of(self, reduced: Arrays) -> float:
        """Return the metric over all samples."""
        if self.values is not None:
            return float(self.values(reduced).mean())
        assert self.whole is not None, "a Metric has `values` or `whole`"
        return self.whole(reduced)


@runtime_checkable
class Task(Protocol):
    """A task: the purpose of a model. Only `loss` needs torch.

    Predictions are reduced batch by batch (`reduce`), and the metrics are computed from what is
    kept. So the predictions of a whole split are never in memory together.
    """

    signals: Mapping[str, SignalKind]
    """The model's outputs in order, with their kinds: a loss that does not fit is refused early."""
    metrics: Sequence[Metric]
    """The first decides."""

    def predict(self, model: Predictor, inputs: Arrays) -> Arrays:
        """Return predictions for a batch: one call of `model`, or decoding, or box suppression."""

    def reference(self, predictions: Arrays) -> Arrays:
        """Return what `reduce` needs of the teacher's predictions for a batch.

        It is kept for a whole split, so the arrays should be small. Their first axis counts the
        samples.
        """

    def reduce(self, predictions: Arrays, targets: Arrays, teacher: Arrays) -> Arrays:
        """Return what the metrics need of a batch: small arrays whose first axis counts samples.

        Args:
            predictions: of the model that is judged. Outputs for words have `mask` beside them.
            targets: of the same samples.
            teacher: `reference` of the teacher on the same samples.
        """

    def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Return the hard loss of each sample, shape [batch]."""

    def check(self, targets: Arrays) -> None:
        """Raise DataError if these targets cannot be this task's."""


def name_outputs(outputs: Arrays, task: Task) -> Arrays:
    """Name a model's outputs, in their order, as the task calls them.

    Class scores of the shape [n, classes, 1, 1] or [n, 1, classes] become [n, classes].

    Raises:
        ModelError: there are more or fewer of them, or class scores have another shape.
    """
    if len(outputs) != len(task.signals):
        raise ModelError(
            f"the model gives {len(outputs)} outputs ({', '.join(outputs)}) and the task has "
            f"{len(task.signals)} ({', '.join(task.signals)}); they are matched by order"
        )
    named = dict(zip(task.signals, outputs.values(), strict=True))
    return {
        name: _class_scores(name, array) if task.signals[name] == "classes" else array
        for name, array in named.items()
    }


def _class_scores(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 2:
        return array
    if array.ndim < 2 or sum(length != 1 for length in array.shape[1:]) > 1:
        raise ModelError(
            f"the model gives {name} of the shape {['n', *array.shape[1:]]}, and class scores are "
            "[n, classes]; give a model that ends in one score for each class, or set the task "
            f"that its outputs are for: {option('task')}"
        )
    return array.reshape(len(array), -1)


def check_width(name: str, output: HasShape, target: HasShape) -> None:
    """Refuse an output [batch, ...] whose other axes are not those of its target.

    Raises:
        DataError: broadcasting would hide that they differ.
    """
    if tuple(output.shape) != tuple(target.shape):
        raise DataError(
            f"the model gives {name} {list(output.shape)[1:]} for each sample, and the data has "
            f"targets {list(target.shape)[1:]}; build the model with as many outputs, or change "
            "the targets"
        )

"""What a model is for: outputs, hard loss, metrics. Nothing else knows of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError, ModelError, RecipeError
from edgekd.user_code import resolve

if TYPE_CHECKING:
    from torch import Tensor

Arrays = Mapping[str, NDArray[Any]]
Predictor = Callable[[Arrays], Arrays]
SignalKind = Literal["classes", "labels", "values", "embedding", "tokens"]


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
    """Whether it is a share of the samples or of a whole, in percent: differences are points."""

    def of(self, reduced: Arrays) -> float:
        """Return the metric over all samples."""
        if self.values is not None:
            return float(self.values(reduced).mean())
        assert self.whole is not None, "a Metric has `values` or `whole`"
        return self.whole(reduced)


@runtime_checkable
class Task(Protocol):
    """What a model is for. Only `loss` needs torch."""

    signals: Mapping[str, SignalKind]
    """The model's outputs in order, with their kinds: a loss that does not fit is refused early."""
    metrics: Sequence[Metric]
    """The first decides."""

    def predict(self, model: Predictor, inputs: Arrays) -> Arrays:
        """Answer for a batch: one call, or decoding, or box suppression."""

    def reference(self, predictions: Arrays) -> Arrays:
        """Return what `reduce` compares other models with: of the teacher's predictions, a batch.

        It is kept for a whole split, so it should be small. The first axis counts the samples.
        """

    def reduce(self, predictions: Arrays, targets: Arrays, teacher: Arrays) -> Arrays:
        """Return what the metrics need of a batch: small arrays, the first axis counts the samples.

        Args:
            predictions: of the model that is judged. Outputs for words have `mask` beside them.
            targets: of the same samples.
            teacher: `reference` of the teacher on the same samples.
        """

    def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Return the hard loss of each sample, shape [batch]."""

    def check(self, targets: Arrays) -> None:
        """Raise DataError if these targets cannot be this task's."""


def by_signal(outputs: Arrays, task: Task) -> Arrays:
    """Name a model's outputs, in their order, as the task calls them.

    Raises:
        ModelError: there are more or fewer of them.
    """
    if len(outputs) != len(task.signals):
        raise ModelError(
            f"the model gives {len(outputs)} outputs ({', '.join(outputs)}) and the task has "
            f"{len(task.signals)} ({', '.join(task.signals)}); they are matched by order"
        )
    return dict(zip(task.signals, outputs.values(), strict=True))


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return probabilities along the last axis."""
    shifted = np.asarray(logits, np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def _right(reduced: Arrays) -> NDArray[np.float64]:
    return np.asarray(100.0 * (reduced["answer"] == reduced["label"]))


def _agrees(reduced: Arrays) -> NDArray[np.float64]:
    return np.asarray(100.0 * (reduced["answer"] == reduced["teacher"]))


def worst_class(reduced: Arrays) -> float:
    """Return the accuracy of the class that does worst, in percent, of the classes present."""
    labels = np.asarray(reduced["label"])
    right = (reduced["answer"] == labels).astype(np.float64)
    count = np.bincount(labels)
    hits = np.bincount(labels, weights=right, minlength=len(count))
    return float(100.0 * (hits[count > 0] / count[count > 0]).min())


def calibration_error(reduced: Arrays, *, bins: int = 15) -> float:
    """Return the expected calibration error in percent (Guo et al. 2017, section 2)."""
    confidence = reduced["confidence"]
    right = (reduced["answer"] == reduced["label"]).astype(np.float64)
    slot = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(slot, weights=right - confidence, minlength=bins)
    return float(100.0 * np.abs(gap).sum() / len(confidence))


class Classification:
    """One label out of several; the model gives `logits`, shape [batch, classes]."""

    signals: Mapping[str, SignalKind] = {"logits": "classes"}
    metrics: Sequence[Metric] = (
        Metric("top-1", "%", values=_right, is_percentage=True),
        Metric("worst class", "%", whole=worst_class, is_percentage=True),
        Metric(
            "calibration error", "%", whole=calibration_error, better="lower", is_percentage=True
        ),
        Metric("agreement", "%", values=_agrees, is_percentage=True),
    )

    def predict(self, model: Predictor, inputs: Arrays) -> Arrays:
        return model(inputs)

    def reference(self, predictions: Arrays) -> Arrays:
        return {"answer": predictions["logits"].argmax(axis=1)}

    def reduce(self, predictions: Arrays, targets: Arrays, teacher: Arrays) -> Arrays:
        logits = predictions["logits"]
        return {
            "label": targets["label"],
            "answer": logits.argmax(axis=1),
            "confidence": softmax(logits).max(axis=1),
            "teacher": teacher["answer"],
        }

    def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        from torch.nn.functional import cross_entropy

        logits, label = outputs["logits"], targets["label"]
        if int(label.max()) >= logits.shape[1]:
            raise DataError(
                f"label {int(label.max())} was met, but the network has {logits.shape[1]} outputs "
                f"(labels 0 to {logits.shape[1] - 1}); build it with more classes or mend labels"
            )
        return cross_entropy(logits.float(), label, reduction="none")

    def check(self, targets: Arrays) -> None:
        if "label" not in targets:
            found = ", ".join(sorted(targets)) or "no targets"
            raise DataError(
                f"task 'classification' needs a target named 'label', got {found}; "
                "name it so, or give a task of your own (task = 'file.py:function')"
            )


def open_task(spec: str, *, root: Path) -> Task:
    """Return the task a recipe names: 'classification', or a callable that returns one.

    Raises:
        RecipeError: what the callable returned is no Task.
    """
    if spec == "classification":
        return Classification()
    if ":" not in spec:
        raise RecipeError(
            f"task {spec!r} is not known; it is 'classification' or 'path/to/file.py:function'"
        )
    task = resolve(spec, root=root)()
    if not isinstance(task, Task):
        raise RecipeError(
            f"{spec} returned a {type(task).__name__}; a task has signals, metrics, predict, "
            "reference, reduce, loss and check (see edgekd.tasks.task.Task)"
        )
    return task

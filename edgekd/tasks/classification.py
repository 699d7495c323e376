"""Classification: one label out of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.tasks.task import Arrays, Metric, Predictor, SignalKind
from edgekd.wording import option

if TYPE_CHECKING:
    from torch import Tensor


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return probabilities along the last axis."""
    shifted = np.asarray(logits, np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def _right(reduced: Arrays) -> NDArray[np.float64]:
    return np.asarray(100.0 * (reduced["answer"] == reduced["label"]))


def _agrees(reduced: Arrays) -> NDArray[np.float64]:
    return np.asarray(100.0 * (reduced["answer"] == reduced["teacher"]))


def commonest_class(reduced: Arrays) -> float:
    """Return the share of the commonest class, in percent."""
    label = np.asarray(reduced["label"])
    return float(100.0 * np.bincount(label).max() / len(label))


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

    target: ClassVar = "label"
    signals: Mapping[str, SignalKind] = {"logits": "classes"}
    metrics: Sequence[Metric] = (
        Metric("top-1", "%", values=_right, is_percentage=True, chance=commonest_class),
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
                f"label {int(label.max())} occurs in the data, but the network has "
                f"{logits.shape[1]} outputs "
                f"(labels 0 to {logits.shape[1] - 1}); build it with more classes or fix the labels"
            )
        return cross_entropy(logits.float(), label, reduction="none")

    def check(self, targets: Arrays) -> None:
        if "label" not in targets and "value" in targets:
            raise DataError(
                "the targets are numbers that are not whole or are stored as floats; to predict "
                "numbers: "
                f"{option('task', 'regression')}; for classes give whole "
                "numbers (y.astype(np.int64)) or names"
            )
        if "label" not in targets and "labels" in targets:
            raise DataError(
                f"the targets are rows of 0 and 1, {list(targets['labels'].shape)}; for several "
                f"labels per sample: {option('task', 'multilabel')}; for one-hot rows "
                "give the class numbers, y.argmax(axis=1)"
            )
        if "label" not in targets:
            found = ", ".join(sorted(targets)) or "no targets"
            raise DataError(
                f"task 'classification' needs a target named 'label', got {found}; give it this "
                f"name, or use a task of your own ({option('task', 'file.py:function')})"
            )

"""Regression: one number or several for each sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.tasks.task import Arrays, Metric, Predictor, SignalKind, check_width
from edgekd.wording import option

if TYPE_CHECKING:
    from torch import Tensor


def determination(answer: NDArray[Any], truth: NDArray[Any]) -> float:
    """Return R2 in percent: 1 - squared error / variance of the truth, the mean over all values.

    Both are [n, values]. 100 is perfect, 0 is as good as the mean of the truth, less is worse. A
    value whose truth never varies counts 100 if it is exact and else 0, as in scikit-learn.
    """
    answer, truth = np.asarray(answer, np.float64), np.asarray(truth, np.float64)
    error = np.square(answer - truth).sum(axis=0)
    spread = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    constant = np.where(error > 0, 0.0, 1.0)
    share = np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1.0), constant)
    return 100.0 * float(share.mean())


def _explained(reduced: Arrays) -> float:
    return determination(reduced["answer"], reduced["value"])


def _explains_teacher(reduced: Arrays) -> float:
    return determination(reduced["answer"], reduced["teacher"])


def _errors(reduced: Arrays) -> NDArray[np.float64]:
    return np.asarray(np.abs(_difference(reduced)).mean(axis=1))


def _root_mean_square(reduced: Arrays) -> float:
    return float(np.sqrt(np.square(_difference(reduced)).mean()))


def _difference(reduced: Arrays) -> NDArray[np.float64]:
    return reduced["answer"].astype(np.float64) - reduced["value"].astype(np.float64)


class Regression:
    """Numbers; the model gives `values`, shape [batch, values], or [batch] for one.

    `targets["value"]` is float32, [n] or [n, values]. R2 decides, because a budget in its points
    means the same whatever the unit of the numbers is. The agreement is the R2 with the teacher's.
    """

    target: ClassVar = "value"
    signals: Mapping[str, SignalKind] = {"values": "values"}
    metrics: Sequence[Metric] = (
        Metric("R2", "%", whole=_explained, is_percentage=True, chance=lambda reduced: 0.0),
        Metric("mean absolute error", "", values=_errors, better="lower"),
        Metric("root mean squared error", "", whole=_root_mean_square, better="lower"),
        Metric("agreement", "%", whole=_explains_teacher, is_percentage=True),
    )

    def predict(self, model: Predictor, inputs: Arrays) -> Arrays:
        return model(inputs)

    def reference(self, predictions: Arrays) -> Arrays:
        return {"answer": _rows(predictions["values"])}

    def reduce(self, predictions: Arrays, targets: Arrays, teacher: Arrays) -> Arrays:
        answer, value = _rows(predictions["values"]), _rows(targets["value"])
        check_width("values", answer, value)
        return {"value": value, "answer": answer, "teacher": teacher["answer"]}

    def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        value = targets["value"].reshape(len(targets["value"]), -1)
        answer = outputs["values"].reshape(len(value), -1)
        check_width("values", answer, value)
        return (answer.float() - value.float()).square().mean(dim=1)

    def check(self, targets: Arrays) -> None:
        if "value" not in targets:
            found = ", ".join(sorted(targets)) or "no targets"
            raise DataError(
                f"task 'regression' needs a target named 'value', numbers [n] or [n, values]; got "
                f"{found}. Classes are {option('task', 'classification')}, several labels per "
                f"sample {option('task', 'multilabel')}"
            )
        value = np.asarray(targets["value"])
        if len(value) > 1 and (value == value[:1]).all():
            raise DataError(
                f"all {len(value)} targets are {np.ravel(value)[0]:g}: there is nothing to "
                "predict; give the column or array that varies"
            )


def _rows(array: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(array, np.float32).reshape(len(array), -1)

"""Multilabel: each of several labels is yes or no, independently."""

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


_FEW = 8
_SIGMOID_OF_1 = 0.7311


def average_precision(score: NDArray[Any], label: NDArray[Any]) -> float:
    """Return the sum of precision times gain in recall over all thresholds, from 0 to 1.

    `score` and `label` (0 or 1, at least one 1) are [n]. Equal scores are one threshold, so the
    order of the samples does not matter. It is that of scikit-learn, without interpolation.
    """
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    hits = np.cumsum(label[order], dtype=np.float64)[last]
    gains = np.diff(hits, prepend=0.0)
    return float((gains * hits / (last + 1)).sum() / hits[-1])


def mean_average_precision(reduced: Arrays) -> float:
    """Return the mean over all labels that some sample has, in percent; 0 if none has any."""
    score, label = reduced["score"], reduced["label"]
    found = [
        average_precision(score[:, i], label[:, i])
        for i in range(label.shape[1])
        if label[:, i].any()
    ]
    return 100.0 * float(np.mean(found)) if found else 0.0


def mean_share(reduced: Arrays) -> float:
    """Return the share of samples that have a label, in percent: the mean over all labels.

    That is the average precision of scores that are the same for all samples.
    """
    share = (reduced["label"] > 0).mean(axis=0)
    return 100.0 * float(share[share > 0].mean()) if share.any() else 0.0


def f1(reduced: Arrays) -> float:
    """Return F1 over all answers (micro average, threshold 0.5), in percent.

    It is 100 where there is nothing to find and nothing was found.
    """
    answer, label = reduced["score"] > 0.5, reduced["label"] > 0
    right, wrong = int((answer & label).sum()), int((answer != label).sum())
    return 100.0 * 2 * right / (2 * right + wrong) if right + wrong else 100.0


def _right(reduced: Arrays) -> NDArray[np.float64]:
    same = (reduced["score"] > 0.5) == (reduced["label"] > 0)
    return np.asarray(100.0 * same.mean(axis=1))


def _agrees(reduced: Arrays) -> NDArray[np.float64]:
    same = (reduced["score"] > 0.5) == (reduced["teacher"] > 0)
    return np.asarray(100.0 * same.mean(axis=1))


class Multilabel:
    """Each label is there or not; the model gives `logits`, shape [batch, labels].

    `targets["labels"]` is 0 or 1, [n, labels].
    """

    target: ClassVar = "labels"
    signals: Mapping[str, SignalKind] = {"logits": "labels"}
    metrics: Sequence[Metric] = (
        Metric(
            "mean average precision",
            "%",
            whole=mean_average_precision,
            is_percentage=True,
            chance=mean_share,
        ),
        Metric("F1", "%", whole=f1, is_percentage=True),
        Metric("label accuracy", "%", values=_right, is_percentage=True),
        Metric("agreement", "%", values=_agrees, is_percentage=True),
    )

    def predict(self, model: Predictor, inputs: Arrays) -> Arrays:
        return model(inputs)

    def reference(self, predictions: Arrays) -> Arrays:
        return {"answer": (predictions["logits"] > 0).astype(np.uint8)}

    def reduce(self, predictions: Arrays, targets: Arrays, teacher: Arrays) -> Arrays:
        logits = np.asarray(predictions["logits"], np.float32)
        check_width("logits", logits, targets["labels"])
        score = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        return {"label": targets["labels"], "score": score, "teacher": teacher["answer"]}

    def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        from torch.nn.functional import binary_cross_entropy_with_logits

        logits, labels = outputs["logits"], targets["labels"]
        check_width("logits", logits, labels)
        each = binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
        return each.mean(dim=1)

    def doubt(self, reduced: Arrays) -> str:
        """Return why these answers are hardly logits; "" if they may be."""
        score = reduced["score"]
        if len(score) < _FEW or score.min() < 0.5 or score.max() > _SIGMOID_OF_1:
            return ""
        return (
            "outputs are all between 0 and 1, as if they were probabilities; the task takes "
            "logits, and does the sigmoid itself: give the model without its last sigmoid"
        )

    def check(self, targets: Arrays) -> None:
        labels = targets.get("labels")
        if labels is None:
            found = ", ".join(sorted(targets)) or "no targets"
            raise DataError(
                f"task 'multilabel' needs a target 'labels', 0 or 1 for each label of each sample "
                f"[n, labels]; got {found}. One class per sample is "
                f"{option('task', 'classification')}"
            )
        if labels.ndim != 2 or not np.isin(labels, (0, 1)).all():
            raise DataError(
                f"task 'multilabel' needs 0 or 1 for each label of each sample [n, labels]; got "
                f"{labels.dtype} {list(labels.shape)} with values from {labels.min():g} to "
                f"{labels.max():g}"
            )

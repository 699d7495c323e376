"""Samples whose label the teacher contradicts, and the classes that it does worst."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.stats import Estimate
from edgekd.data.dataset import Dataset
from edgekd.evaluation.audit import MISTAKES, ClassQuality, Mistake, Mistakes, Worst
from edgekd.evaluation.quality import estimate, wilson
from edgekd.evaluation.reduced import Reduced
from edgekd.evaluation.wrong_classes import surer_half
from edgekd.pipeline.audit.answers import Answers
from edgekd.pipeline.examples.shipping import show_things
from edgekd.store import write_atomic
from edgekd.tasks.classification import softmax
from edgekd.tasks.multilabel import average_precision
from edgekd.tasks.task import Metric

SHOWN = 24
SHOWN_CLASSES = 10
_FAR_OFF = 5.0
"""Errors beyond so many deviations, estimated from the median, are far off."""


def share(hits: int, n: int) -> Estimate:
    """Return a share in percent with its interval."""
    low, high = wilson(hits, n)
    return Estimate(100 * hits / n, 100 * low, 100 * high, n)


def worst_classes(answers: Answers, dataset: Dataset) -> Worst:
    """Return the classes that are least often right."""
    label, answer = (np.asarray(answers.arrays[name]) for name in ("label", "answer"))
    rows = []
    for value in np.unique(label):
        mine = answer[label == value]
        others, times = np.unique(mine[mine != value], return_counts=True)
        rows.append(
            ClassQuality(
                label=dataset.label_name(int(value)),
                samples=len(mine),
                value=share(int((mine == value).sum()), len(mine)),
                taken_for=dataset.label_name(int(others[times.argmax()])) if len(others) else "",
            )
        )
    rows.sort(key=lambda row: row.value.value)
    return Worst(measure="accuracy", unit="%", rows=tuple(rows[:SHOWN_CLASSES]), of=len(rows))


def worst_labels(answers: Answers, dataset: Dataset) -> Worst:
    """Return the labels with the least average precision, of those that some sample has."""
    score, label = answers.arrays["score"], answers.arrays["label"] > 0
    met = [i for i in range(label.shape[1]) if label[:, i].any()]
    value = {i: average_precision(score[:, i], label[:, i]) for i in met}
    first = sorted(met, key=value.__getitem__)[:SHOWN_CLASSES]

    def precise(i: int) -> Estimate:
        def of(kept: Any) -> float:
            has = kept["label"]
            return 100 * average_precision(kept["score"], has) if has.any() else 0.0

        arrays = {"score": score[:, i], "label": label[:, i]}
        return estimate(
            Metric("average precision", "%", whole=of, is_percentage=True),
            Reduced(arrays, answers.reduced.index),
        )

    rows = [
        ClassQuality(label=dataset.label_name(i), samples=int(label[:, i].sum()), value=precise(i))
        for i in first
    ]
    return Worst(measure="average precision", unit="%", rows=tuple(rows), of=len(met))


def worst_numbers(
    predicted: NDArray[np.float64], true: NDArray[np.float64], names: tuple[str, ...]
) -> Worst:
    """Return the numbers [n, values] with the greatest mean absolute error over their deviation."""
    error = np.abs(predicted - true)
    deviation = np.maximum(true.std(axis=0), 1e-12)
    order = np.argsort(-(error.mean(axis=0) / deviation), kind="stable")
    metric = Metric("mean absolute error", "", values=lambda kept: np.asarray(kept["error"]))
    rows = [
        ClassQuality(
            label=names[i] if i < len(names) else f"number {i + 1}",
            samples=len(error),
            value=estimate(metric, Reduced({"error": error[:, i]}, np.arange(len(error)))),
        )
        for i in order[:SHOWN_CLASSES]
    ]
    return Worst(measure="mean absolute error", unit="", rows=tuple(rows), of=error.shape[1])


def class_mistakes(logits: NDArray[np.float64], answers: Answers, dataset: Dataset) -> Mistakes:
    """Return the samples whose label is not the teacher's answer, the surest first."""
    label, answer = (np.asarray(answers.arrays[name]) for name in ("label", "answer"))
    probability = softmax(logits)
    rows = np.arange(len(label))
    known = label < logits.shape[1]  # a class that the teacher does not have has no probability
    of_label = np.where(known, probability[rows, np.where(known, label, 0)], 0.0)
    return _mistakes(
        dataset,
        answers.reduced.index,
        wrong=label != answer,
        confidence=probability[rows, answer],
        of_label=of_label,
        said=[dataset.label_name(int(one)) for one in answer],
        meant=[dataset.label_name(int(one)) for one in label],
    )


def label_mistakes(answers: Answers, dataset: Dataset) -> Mistakes:
    """Return the samples with a label that the teacher contradicts, by its surest contradiction."""
    score, label = np.asarray(answers.arrays["score"], np.float64), answers.arrays["label"] > 0
    against = np.where(label, 1 - score, score)
    column = against.argmax(axis=1)
    confidence = np.maximum(against.max(axis=1), 1 - against.max(axis=1))

    def named(row: NDArray[np.bool_]) -> str:
        return ", ".join(dataset.label_name(int(i)) for i in np.flatnonzero(row)) or "none"

    rows = np.arange(len(label))
    return _mistakes(
        dataset,
        answers.reduced.index,
        wrong=against.max(axis=1) > 0.5,
        confidence=confidence,
        of_label=1 - against[rows, column],
        said=[named(row) for row in score > 0.5],
        meant=[named(row) for row in label],
    )


def _mistakes(
    dataset: Dataset,
    index: NDArray[np.int64],
    *,
    wrong: NDArray[np.bool_],
    confidence: NDArray[np.float64],
    of_label: NDArray[np.float64],
    said: list[str],
    meant: list[str],
) -> Mistakes:
    sure = surer_half(confidence)
    order = np.flatnonzero(wrong)
    order = order[np.argsort(-confidence[order], kind="stable")]
    things = show_things(dataset, index[order], [meant[i] for i in order], most_pictures=SHOWN)
    found = [
        Mistake(
            thing=thing,
            answer=said[i],
            confidence=100 * float(confidence[i]),
            of_label=100 * float(of_label[i]),
            sure=bool(sure[i]),
            file=dataset.files[thing.index].name if dataset.files else "",
        )
        for thing, i in zip(things, order, strict=True)
    ]
    hits, half = int((wrong & sure).sum()), int(sure.sum())
    return Mistakes(
        total=len(found),
        sure=hits,
        sure_of=half,
        sure_rate=share(hits, half),
        from_confidence=float(confidence[sure].min()),
        shown=tuple(found),
    )


def number_mistakes(
    predicted: NDArray[np.float64], true: NDArray[np.float64], answers: Answers, dataset: Dataset
) -> Mistakes:
    """Return the samples whose error is far off; `confidence` is the error in deviations."""
    error = (np.abs(predicted - true) / np.maximum(true.std(axis=0), 1e-12)).max(axis=1)
    limit = _FAR_OFF * 1.4826 * float(np.median(error))
    order = np.flatnonzero(error > limit)
    order = order[np.argsort(-error[order], kind="stable")]

    def told(row: NDArray[np.float64]) -> str:
        return ", ".join(f"{value:.4g}" for value in row[:6]) + ("..." if len(row) > 6 else "")

    index = answers.reduced.index[order]
    things = show_things(dataset, index, [told(true[i]) for i in order], most_pictures=SHOWN)
    found = tuple(
        Mistake(
            thing=thing,
            answer=told(predicted[i]),
            confidence=float(error[i]),
            of_label=None,
            sure=True,
            file=dataset.files[thing.index].name if dataset.files else "",
        )
        for thing, i in zip(things, order, strict=True)
    )
    return Mistakes(
        total=len(found),
        sure=len(found),
        sure_of=len(error),
        sure_rate=share(len(found), len(error)),
        from_confidence=limit,
        shown=found,
        unit="deviations of the true numbers",
    )


def write_mistakes(mistakes: Mistakes, folder: Path) -> None:
    """Write every mistake as a line of `mistakes.csv`, for a person to look through.

    Args:
        mistakes: with all of them in `shown`.
        folder: of the run.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    error = mistakes.unit != "%"
    head = ["sample", "file", "label", "teacher", f"error, {mistakes.unit}" if error else "sure, %"]
    table.writerow([*head, "of the label, %", "among the surer half", "text"])
    for one in mistakes.shown:
        of_label = "" if one.of_label is None else f"{one.of_label:.2f}"
        row = [one.thing.index, one.file, one.thing.label, one.answer, f"{one.confidence:.2f}"]
        table.writerow([*row, of_label, "yes" if one.sure else "no", one.thing.text or ""])
    write_atomic(folder / MISTAKES, text.getvalue())

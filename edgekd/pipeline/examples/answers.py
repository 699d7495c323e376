"""Classes and labels: change per class, and samples that are answered otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.evaluation.results import ChangedSample, Changes, ClassChange, Confused, Confusion
from edgekd.pipeline.examples.shipping import Shipping
from edgekd.tasks.multilabel import average_precision, f1
from edgekd.tasks.task import Arrays

SHOWN_SAMPLES = 24
SHOWN_PAIRS = 10
MOST_SHOWN_CLASSES = 20
_NONE = "none"


@dataclass(frozen=True)
class _Answers:
    """The answers to the test split: of the teacher, of what ships, and the truth, [n, ...]."""

    teacher: NDArray[Any]
    shipped: NDArray[Any]
    truth: NDArray[Any]
    index: NDArray[np.int64]
    """The samples' numbers in the data set."""


def find_changes(shipping: Shipping) -> Changes | None:
    """Return change per class and the samples that changed their answer, on the test split.

    None where the teacher ships, or the task has neither classes nor labels.
    """
    kind = next(iter(shipping.bench.task.signals.values()))
    if kind not in ("classes", "labels") or shipping.teacher_ships:
        return None
    old, new = shipping.reduced()
    if kind == "labels":
        return _of_labels(shipping, old.arrays, new.arrays, old.index)
    if not {"answer", "label"} <= set(old.arrays):  # a task of one's own may keep something else
        return None
    said = _Answers(old.arrays["answer"], new.arrays["answer"], old.arrays["label"], old.index)
    changed = np.flatnonzero(said.teacher != said.shipped)
    return Changes(
        classes=tuple(_class(shipping, said, value) for value in np.unique(said.truth)),
        changed=len(changed),
        samples=_samples(shipping, said, changed[:SHOWN_SAMPLES]),
        confusion=_confusion(shipping, said),
    )


def _confusion(shipping: Shipping, said: _Answers) -> Confusion:
    """Count true against predicted classes: all of them, or the commonest mistakes of many."""
    values = np.unique(np.concatenate([said.truth, said.shipped]))
    counts: tuple[tuple[int, ...], ...] = ()
    if len(values) <= MOST_SHOWN_CLASSES:
        counts = tuple(
            tuple(int(((said.truth == true) & (said.shipped == other)).sum()) for other in values)
            for true in values
        )
    wrong = said.shipped != said.truth
    mistakes = np.stack([said.truth[wrong], said.shipped[wrong]], axis=1)
    pairs, times = np.unique(mistakes, axis=0, return_counts=True)
    return Confusion(
        labels=tuple(shipping.label(int(value)) for value in values) if counts else (),
        counts=counts,
        pairs=tuple(
            Confused(
                label=shipping.label(int(true)),
                predicted=shipping.label(int(other)),
                teacher=int(((said.truth == true) & (said.teacher == other)).sum()),
                shipped=int(count),
            )
            for (true, other), count in sorted(
                zip(pairs.tolist(), times, strict=True), key=lambda pair: -pair[1]
            )[:SHOWN_PAIRS]
        ),
    )


def _class(shipping: Shipping, said: _Answers, value: int) -> ClassChange:
    mine = said.truth == value
    return ClassChange(
        label=shipping.label(int(value)),
        samples=int(mine.sum()),
        teacher=float(100 * (said.teacher[mine] == value).mean()),
        shipped=float(100 * (said.shipped[mine] == value).mean()),
    )


def _of_labels(
    shipping: Shipping, old: Arrays, new: Arrays, index: NDArray[np.int64]
) -> Changes | None:
    if not {"score", "label"} <= set(old):
        return None
    said = _Answers(old["score"] > 0.5, new["score"] > 0.5, old["label"] > 0, index)
    changed = np.flatnonzero((said.teacher != said.shipped).any(axis=1))
    worth = (said.shipped == said.truth).sum(axis=1) - (said.teacher == said.truth).sum(axis=1)
    first = changed[np.argsort(-np.abs(worth[changed]), kind="stable")]
    met = np.flatnonzero(said.truth.any(axis=0))
    return Changes(
        measure="average precision",
        classes=tuple(_label(shipping, old, new, int(i)) for i in met),
        changed=len(changed),
        samples=_samples(shipping, said, first[:SHOWN_SAMPLES]),
    )


def _label(shipping: Shipping, old: Arrays, new: Arrays, column: int) -> ClassChange:
    truth = old["label"][:, column] > 0
    precisions, scores = [], []
    for arrays in (old, new):
        score = arrays["score"][:, column]
        precisions.append(100 * average_precision(score, truth))
        scores.append(f1({"score": score[:, None], "label": truth[:, None]}))
    return ClassChange(
        label=shipping.label(column),
        samples=int(truth.sum()),
        teacher=precisions[0],
        shipped=precisions[1],
        f1=(scores[0], scores[1]),
    )


def _samples(
    shipping: Shipping, said: _Answers, rows: NDArray[np.int64]
) -> tuple[ChangedSample, ...]:
    def named(answer: NDArray[Any]) -> str:
        if answer.ndim == 0:
            return shipping.label(int(answer))
        return ", ".join(shipping.label(int(i)) for i in np.flatnonzero(answer)) or _NONE

    things = shipping.things(said.index[rows], [named(said.truth[row]) for row in rows])
    return tuple(
        ChangedSample(
            index=thing.index,
            label=thing.label,
            teacher=named(said.teacher[row]),
            shipped=named(said.shipped[row]),
            image=thing.image,
            text=thing.text,
        )
        for row, thing in zip(rows, things, strict=True)
    )

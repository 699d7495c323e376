"""Several teachers: how often they agree, and what their mean is worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from edgekd.evaluation.audit import Agreement, Skipped, Together
from edgekd.evaluation.quality import estimate, estimate_gain
from edgekd.evaluation.reduced import Reduced
from edgekd.pipeline.audit.answers import Answers
from edgekd.pipeline.audit.mistakes import share
from edgekd.tasks.classification import Classification
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.regression import Regression
from edgekd.tasks.task import Arrays, Metric, Task

_SIMPLE = (Classification, Multilabel, Regression)
"""Their predictions are the outputs, so that those of a mean can be judged."""


def compare_teachers(answers: Sequence[Answers], task: Task, targets: Arrays) -> Together | Skipped:
    """Return how unlike several teachers are, on the same samples.

    Args:
        answers: of each, the first teacher's first.
        task: of the run.
        targets: the labels of these samples; empty where there are none.
    """
    kinds = list(task.signals.values())
    if not all(one.outputs for one in answers) or kinds not in (["classes"], ["labels"]):
        return Skipped(
            what="agreement between teachers", why="it is that of classes or labels, in one output"
        )
    arrays = [next(iter(one.outputs.values())) for one in answers]
    if len({array.shape for array in arrays}) > 1:
        pairs = zip(answers, arrays, strict=True)
        shapes = ", ".join(f"{one.of.name} {list(array.shape[1:])}" for one, array in pairs)
        return Skipped(
            what="agreement between teachers", why=f"their outputs have other shapes: {shapes}"
        )
    answer = [a.argmax(axis=1) if kinds == ["classes"] else a > 0 for a in arrays]
    agreements = tuple(
        Agreement(
            first=answers[i].of.name,
            second=answers[j].of.name,
            value=share(int((answer[i] == answer[j]).sum()), answer[i].size),
        )
        for i, j in combinations(range(len(answers)), 2)
    )
    if not targets or not isinstance(task, _SIMPLE):
        return Together(agreements=agreements, quality=None, best="", gain=None)
    metric = task.metrics[0]
    mean = _mean(answers, task, targets)
    best = max(answers, key=lambda one: _worth(metric, one.reduced))
    return Together(
        agreements=agreements,
        quality=estimate(metric, mean),
        best=best.of.name,
        gain=estimate_gain(metric, mean, best.reduced),
    )


def _worth(metric: Metric, reduced: Reduced) -> float:
    value = metric.of(reduced.arrays)
    return value if metric.better == "higher" else -value


def _mean(answers: Sequence[Answers], task: Task, targets: Arrays) -> Reduced:
    """Return what the task keeps of the weighted mean, as `more_teachers` of distill makes it."""
    total = sum(one.of.weight for one in answers)
    (name,) = task.signals
    mean = np.sum([one.of.weight / total * one.outputs[name] for one in answers], axis=0)
    predictions = task.predict(lambda _: {name: mean}, {})
    reduced = task.reduce(predictions, targets, task.reference(predictions))
    return Reduced(reduced, answers[0].reduced.index)

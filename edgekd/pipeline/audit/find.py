"""Audit teachers: one pass over the validation split each, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.stats import Estimate
from edgekd.data.batches import Data
from edgekd.evaluation.audit import (
    Advice,
    Audit,
    Mistakes,
    Skipped,
    Standing,
    StudentFacts,
    TeacherQuality,
    Together,
    Worst,
)
from edgekd.evaluation.calibration import Bin, Temperature, fit_temperature, sort_into_bins
from edgekd.evaluation.formatting import quality
from edgekd.evaluation.quality import estimate
from edgekd.evaluation.results import MetricInfo
from edgekd.evaluation.wrong_classes import WrongClasses, describe_wrong_classes
from edgekd.exporters.model_stats import facts
from edgekd.pipeline.audit import mistakes as samples
from edgekd.pipeline.audit.advice import POOR, advise, advise_together, scale_of
from edgekd.pipeline.audit.answers import (
    Answers,
    Candidate,
    are_probabilities,
    as_logits,
    collect,
    scores_of,
    soft_temperature,
)
from edgekd.pipeline.audit.student import describe_input
from edgekd.pipeline.audit.together import compare_teachers
from edgekd.pipeline.baseline import describe_doubt
from edgekd.pipeline.bench import Bench
from edgekd.tasks.reference import Reference

MOST_SCORES = 20_000_000
"""Of more class scores, samples are drawn evenly: sorting them takes memory."""
_AGREEMENT = "agreement"
"""Of the teacher with itself it says nothing."""
_CLASSES_ONLY = "it is that of class scores, one label for each sample"
_NO_LABELS = "the data has no labels"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is audited: teachers, the first one teaches, and perhaps the student."""

    bench: Bench
    key: str
    candidates: Sequence[Candidate]
    student: StudentFacts | Skipped | None
    files: Sequence[tuple[str, float]]
    """Of each further teacher the file as a recipe has it, and its weight."""


@dataclass(frozen=True, kw_only=True)
class _First:
    """What is known of the first teacher alone."""

    bins: tuple[Bin, ...] = ()
    worst: Worst | None = None
    mistakes: Mistakes | None = None
    skipped: tuple[Skipped, ...] = ()


def find(subject: Subject) -> tuple[Audit, Mistakes | None]:
    """Audit teachers.

    Returns:
        The audit, and every mistake of the first teacher, of which the audit shows some.

    Raises:
        ModelError: a file cannot be run on the data.
    """
    bench, task = subject.bench, subject.bench.task
    answers = []
    with bench.progress.track("audit the teacher", len(subject.candidates) + 1) as tick:
        for candidate in subject.candidates:
            answers.append(collect(candidate, task, bench.data, "validation"))
            tick(1, candidate.name)
        trained = collect(subject.candidates[0], task, bench.data, "calibration")
        tick(1, "on training samples")
    teachers = tuple(_teacher(one, bench) for one in answers)
    first = _first(answers[0], bench)
    standing, why = _standing(answers[0], bench)
    together = _together(answers, bench)
    student = subject.student if isinstance(subject.student, StudentFacts) else None
    every = first.mistakes
    audit = Audit(
        key=subject.key,
        task=str(bench.recipe.task or "classification"),
        metric=_metric(bench),
        samples=len(answers[0].reduced.index),
        kind=bench.dataset.kind,
        standing=standing,
        standing_why=why,
        teachers=teachers,
        on_training=_quality(trained, bench),
        bins=first.bins,
        worst=first.worst,
        mistakes=every and replace(every, shown=every.shown[: samples.SHOWN]),
        together=together if isinstance(together, Together) else None,
        student=student,
        remarks=_remarks(answers, bench),
        skipped=(
            *first.skipped,
            *(one for one in (together, subject.student) if isinstance(one, Skipped)),
        ),
    )
    return replace(audit, advice=_advice(audit, trained, subject)), every


def _advice(audit: Audit, trained: Answers, subject: Subject) -> tuple[Advice, ...]:
    task, first = subject.bench.task, audit.first
    kinds = set(task.signals.values())
    scores = scores_of(trained, task, "classes")
    softness = None
    if scores is not None and scores.shape[1] > 1:
        softness = soft_temperature(as_logits(scores) / scale_of(first.temperature))
    found = advise(
        first,
        standing=audit.standing,
        standing_why=audit.standing_why,
        kind=kinds.pop() if len(kinds) == 1 else "",
        softness=softness,
        mistakes=audit.mistakes,
        student=audit.student,
    )
    if not _has_labels(subject.bench):  # a weight of theirs would be refused
        kept = [tuple(x for x in one.lines if not x.startswith("hard_weight")) for one in found]
        found = tuple(replace(one, lines=rest) for one, rest in zip(found, kept, strict=True))
    if audit.together is None or audit.standing == "no better than a guess":
        return found
    more = advise_together(audit.together, audit.metric, subject.files)
    return found if more is None else (*found, more)


def _metric(bench: Bench) -> MetricInfo:
    first = bench.task.metrics[0]
    return MetricInfo(
        name=first.name,
        unit=first.unit,
        better=first.better,
        is_percentage=first.is_percentage,
        against_teacher=first.against_teacher,
    )


def _has_labels(bench: Bench) -> bool:
    return bool(bench.dataset.targets) and not isinstance(bench.task, Reference)


def _quality(answers: Answers, bench: Bench) -> Estimate | None:
    return estimate(bench.task.metrics[0], answers.reduced) if _has_labels(bench) else None


def _teacher(answers: Answers, bench: Bench) -> TeacherQuality:
    task, of = bench.task, answers.of
    parameters, macs = _size(of, bench.data)
    shown = task.metrics if _has_labels(bench) else ()
    temperature, wrong = _scores(answers, bench)
    return TeacherQuality(
        name=of.name,
        metrics={
            m.name: estimate(m, answers.reduced)
            for m in shown
            if m.name != _AGREEMENT and not m.against_teacher
        },
        parameters=parameters,
        macs=macs,
        takes=", ".join(f"{what} {how}" for what, how in describe_input(of.preprocess).items()),
        temperature=temperature,
        wrong=wrong,
        weight=of.weight,
    )


def _size(candidate: Candidate, data: Data) -> tuple[int, int | None]:
    """Return parameters, and multiplications of one sample at the length that it has here."""
    axes = candidate.preprocess.dynamic_axes
    inputs = next(data.batches("validation", candidate.preprocess, size=1)).inputs[0]
    lengths = {
        symbol: int(inputs[name].shape[axis])
        for name, free in axes.items()
        for axis, symbol in free.items()
        if axis
    }
    found = facts(candidate.path, lengths=lengths)
    return found.parameters, found.macs


def _scores(answers: Answers, bench: Bench) -> tuple[Temperature | None, WrongClasses | None]:
    """Return temperature and wrong classes, of a task with scores of classes or labels."""
    labelled = _has_labels(bench)
    scores = scores_of(answers, bench.task, "classes")
    if scores is not None and scores.shape[1] > 1:
        every = max(1, scores.size // MOST_SCORES)
        logits = as_logits(scores[::every])
        if not (labelled and {"label", "answer"} <= set(answers.arrays)):
            return None, describe_wrong_classes(logits, None)
        label, answer = (np.asarray(answers.arrays[n])[::every] for n in ("label", "answer"))
        known = label < logits.shape[1]
        fitted = fit_temperature(logits[known], label[known]) if known.any() else None
        return fitted, describe_wrong_classes(logits, label == answer)
    scores = scores_of(answers, bench.task, "labels")
    if scores is None or not labelled or "label" not in answers.arrays:
        return None, None
    flat = scores.reshape(-1)
    both = np.stack([np.zeros_like(flat), flat], axis=1)
    truth = (np.asarray(answers.arrays["label"]) > 0).astype(np.int64).reshape(-1)
    return fit_temperature(both, truth, per_sample=scores.shape[1]), None


def _first(answers: Answers, bench: Bench) -> _First:
    """Return what else can be said of the first teacher, and why the rest cannot."""
    kinds, arrays = list(bench.task.signals.values()), answers.arrays
    names = ("calibration by confidence", "worst classes", "contradicted labels")
    if not _has_labels(bench):
        return _First(skipped=tuple(Skipped(what=name, why=_NO_LABELS) for name in names))
    scores = scores_of(answers, bench.task, "classes")
    if scores is not None and scores.shape[1] > 1 and {"label", "answer"} <= set(arrays):
        return _of_classes(as_logits(scores), answers, bench)
    scores = scores_of(answers, bench.task, "labels")
    if scores is not None and {"label", "score"} <= set(arrays):
        score, label = np.asarray(arrays["score"], np.float64), arrays["label"] > 0
        sure = np.maximum(score, 1 - score).reshape(-1)
        return _First(
            bins=sort_into_bins(sure, ((score > 0.5) == label).reshape(-1)),
            worst=samples.worst_labels(answers, bench.dataset),
            mistakes=samples.label_mistakes(answers, bench.dataset),
            skipped=(Skipped(what="the classes that are not chosen", why=_CLASSES_ONLY),),
        )
    scores = scores_of(answers, bench.task, "values")
    skipped = tuple(
        Skipped(what=name, why=_CLASSES_ONLY)
        for name in (names[0], "the classes that are not chosen", "the temperature of its scores")
    )
    if scores is not None and "value" in bench.dataset.targets:
        true = _true(bench, answers.reduced.index).reshape(len(scores), -1)
        if true.shape == scores.shape:
            columns = bench.dataset.columns.get("value", ())
            return _First(
                worst=samples.worst_numbers(scores, true, columns),
                mistakes=samples.number_mistakes(scores, true, answers, bench.dataset),
                skipped=skipped,
            )
    others = tuple(
        Skipped(what=name, why=f"not known for outputs of the kind {', '.join(kinds)}")
        for name in names[1:]
    )
    return _First(skipped=(*skipped, *others))


def _of_classes(logits: NDArray[np.float64], answers: Answers, bench: Bench) -> _First:
    right = np.asarray(answers.arrays["label"]) == np.asarray(answers.arrays["answer"])
    top = logits.max(axis=1, keepdims=True)
    confidence = 1 / np.exp(logits - top).sum(axis=1)
    few = logits.shape[1] < 3
    return _First(
        bins=sort_into_bins(confidence, right),
        worst=samples.worst_classes(answers, bench.dataset),
        mistakes=samples.class_mistakes(logits, answers, bench.dataset),
        skipped=(
            Skipped(
                what="the classes that are not chosen",
                why="of two classes there is only one, which has nothing beside it",
            ),
        )
        if few
        else (),
    )


def _true(bench: Bench, index: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(bench.dataset.targets["value"][index], np.float64)


def _standing(answers: Answers, bench: Bench) -> tuple[Standing, str]:
    """Return how a teacher stands, and why, in a clause without a full stop."""
    metric = bench.task.metrics[0]
    if not _has_labels(bench):
        return "not judged", "The data has no labels to judge it by"
    found = estimate(metric, answers.reduced)
    unit = f" {metric.unit}".rstrip()
    said = f"{metric.name} is {quality(found)}{unit} on {found.n:,} validation samples"
    is_share = metric.is_percentage and metric.better == "higher"
    if metric.chance is None or not is_share or metric.against_teacher:
        return "not judged", f"{said}; what a guess gets is not known"
    chance = metric.chance(answers.arrays)
    share = (found.value - chance) / (100 - chance) if chance < 100 else 0.0
    said += f", and a guess gets {chance:.1f}{unit}"
    if found.low <= chance:
        return "no better than a guess", said
    said += f": it goes {100 * share:.0f} % of the way from a guess to no mistake"
    return ("poor" if share < POOR else "good"), said


def _together(answers: Sequence[Answers], bench: Bench) -> Together | Skipped | None:
    if len(answers) == 1:
        return None
    targets = bench.data.targets("validation") if _has_labels(bench) else {}
    return compare_teachers(answers, bench.task, targets)


def _remarks(answers: Sequence[Answers], bench: Bench) -> tuple[str, ...]:
    found = []
    for one in answers:
        scores = scores_of(one, bench.task, "classes")
        if scores is not None and are_probabilities(scores):
            found.append(
                f"The outputs of {one.of.name} are probabilities: it ends in a softmax. Losses "
                "take scores before it, and would learn from nearly equal ones; give the model "
                "without its last softmax. The figures here are of the probabilities themselves."
            )
    if _has_labels(bench) and (doubt := describe_doubt(bench.task, answers[0].reduced)):
        found.append(f"The teacher's {doubt}.")
    given = bench.recipe.model.training is None and "validation" not in bench.dataset.fixed
    if given and _has_labels(bench):
        found.append(
            "edgekd split the data itself. If the teacher was trained on some of the validation "
            "samples, it is worse than it looks here."
        )
    return tuple(found)

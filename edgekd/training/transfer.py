"""Train a network on a teacher and on labels: used by distillation and by recovery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from edgekd.data.dataset import Arrays
from edgekd.data.preprocess import Preprocess
from edgekd.networks.trainable import Model
from edgekd.options import Training
from edgekd.step import Context
from edgekd.training.loop import (
    TRAINED,
    Course,
    Objective,
    TrainingBatch,
    choose_device,
    fit,
    to_tensors,
)
from edgekd.training.losses import add_notes
from edgekd.training.signals import Signals, joined
from edgekd.training.teacher_cache import CacheRequest, open_cache
from edgekd.training.teacher_outputs import TeacherOutputs
from edgekd.training.term_layers import check_fit, check_tokens, give, tokens_of
from edgekd.training.terms import Compared, Part, Term
from edgekd.training.trainee import Trainee


@dataclass(frozen=True)
class Lesson:
    """What a network learns from: labels, and terms against a teacher."""

    hard_weight: float = 1.0
    """Factor of the task's own loss; at 0 no labels are read."""
    terms: Sequence[Term] = ()
    guide: TeacherOutputs | None = None
    """What the terms learn from; None only where there are no terms."""
    cache: CacheRequest | None = None
    """Whether the guide's signals are computed once and replayed."""


def transfer(
    student: Model,
    lesson: Lesson,
    context: Context,
    training: Training,
    *,
    work: Path,
    title: str,
) -> None:
    """Train `student.body` in place; teacher and student see the same view of every sample.

    Args:
        student: its body is trained.
        lesson: what it learns from.
        context: task, data and seed.
        training: how long and how fast.
        work: a folder for checkpoints; it is made if need be.
        title: of the progress.
    """
    work.mkdir(parents=True, exist_ok=True)
    guide, terms, views = lesson.guide, lesson.terms, None
    layers = joined(term.student_wanted for term in terms).layers
    trainee = Trainee(student.deployed(context.task), layers=layers)
    if guide is not None:
        both = {TRAINED: student.preprocess, **guide.preprocesses}
        example = Course(context.data, both, training.batch_size).example()
        _say_what_stands_for_labels(terms, context, lesson.hard_weight, example.targets)
        torch.manual_seed(context.seed)  # the same after a resume, whatever was drawn before
        trainee.extra.update(_extras(trainee, guide, example, context, student.preprocess, terms))
        guide, views = _cached(lesson, guide, context, epochs=training.epochs, work=work)
    preprocesses = {TRAINED: student.preprocess, **(guide.preprocesses if guide else {})}
    fit(
        trainee,
        Course(context.data, preprocesses, training.batch_size, views),
        make_objective(trainee, replace(lesson, guide=guide), context, student.preprocess),
        training,
        seed=context.seed,
        work=work,
        progress=context.progress,
        title=title,
    )


def _cached(
    lesson: Lesson, guide: TeacherOutputs, context: Context, *, epochs: int, work: Path
) -> tuple[TeacherOutputs, int | None]:
    """Return the guide, or what replays it and the number of its views."""
    if lesson.cache is None:
        return guide, None
    wanted = joined(term.teacher_wanted for term in lesson.terms)
    found, line = open_cache(lesson.cache, guide, wanted, context, epochs=epochs)
    context.progress.say(line)
    add_notes(work, [line])
    return (guide, None) if found is None else (found, found.views)


def make_objective(
    trainee: Trainee, lesson: Lesson, context: Context, preprocess: Preprocess
) -> Objective:
    """Return the loss: the task's own, where it has a weight, then every term."""
    task, device = context.task, choose_device()
    guide, hard_weight = lesson.guide, lesson.hard_weight
    wanted = joined(term.teacher_wanted for term in lesson.terms)
    extras = dict(trainee.extra.items())
    named_terms = name_terms(lesson.terms)

    def objective(student: Signals, batch: TrainingBatch, done: float) -> list[Part]:
        parts = []
        targets = to_tensors(batch.targets, device) if hard_weight else {}
        if hard_weight:
            hard = task.loss(student.outputs, targets)
            parts.append(Part("hard", hard_weight, hard.mean()))
        if guide is None:
            return parts
        teacher = guide.signals(batch, wanted)
        tokens = _tokens({TRAINED: preprocess}, batch)
        its_tokens = _tokens(guide.preprocesses, batch)
        for name, term in named_terms.items():
            seen = Compared(
                student,
                teacher,
                task.signals,
                targets if term.wants_labels else {},
                extras.get(name),
                tokens=tokens,
                teacher_tokens=its_tokens,
            )
            found = term.parts(seen)
            for key, value in found.items():
                shown = name if len(found) == 1 else f"{name} {key}"
                parts.append(Part(shown, term.weight_at(done), value))
        return parts

    return objective


def name_terms(terms: Sequence[Term]) -> dict[str, Term]:
    """Return the terms by kind; those of a kind that comes again are numbered."""
    named: dict[str, Term] = {}
    for term in terms:
        before = sum(other.kind == term.kind for other in named.values())
        named[f"{term.kind} {before + 1}" if before else term.kind] = term
    return named


def _tokens(preprocesses: Mapping[str, Preprocess], batch: TrainingBatch) -> Tensor | None:
    """Return which tokens of a network's texts are no padding, on the device of the training."""
    for name, preprocess in preprocesses.items():
        found = tokens_of(preprocess, batch.inputs[name])
        if found is not None:
            return torch.as_tensor(found).to(choose_device())
    return None


def _say_what_stands_for_labels(
    terms: Sequence[Term], context: Context, hard_weight: float, targets: Arrays
) -> None:
    kinds = dict.fromkeys(term.kind for term in terms if term.wants_labels)
    missing = "" if {"label", "mask"} & set(targets) else "the data has none"
    why = missing if hard_weight else "hard_weight = 0"
    if kinds and why:
        context.progress.say(
            f"{', '.join(kinds)}: no labels are used ({why}), so the teacher's most probable class "
            "stands for them"
        )


def _extras(
    trainee: Trainee,
    guide: TeacherOutputs,
    batch: TrainingBatch,
    context: Context,
    preprocess: Preprocess,
    terms: Sequence[Term],
) -> dict[str, nn.Module]:
    """Return the modules that terms need trained along, for the shapes of this batch."""
    student = give(trainee, batch)
    teacher = guide.signals(batch, joined(term.teacher_wanted for term in terms))
    check_fit(terms, student, teacher, context.task.signals)
    for name, its in guide.preprocesses.items():
        check_tokens(terms, preprocess, its, batch.inputs[TRAINED], batch.inputs[name])
    extras = {name: term.extra(student, teacher) for name, term in name_terms(terms).items()}
    return {name: extra for name, extra in extras.items() if extra is not None}

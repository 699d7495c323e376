"""Train a network on a teacher and on labels: used by distillation and by recovery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgekd.data.dataset import Arrays
from edgekd.data.preprocess import Preprocess
from edgekd.errors import ModelError
from edgekd.networks.trainable import Model
from edgekd.options import Training
from edgekd.step import Context
from edgekd.tasks.task import Task
from edgekd.training.early_stop import check_early_stop, make_judge
from edgekd.training.loop import (
    TRAINED,
    Course,
    Objective,
    TrainingBatch,
    TrainingLog,
    choose_device,
    choose_workers,
    fit,
    to_tensors,
)
from edgekd.training.losses import add_notes
from edgekd.training.signals import Signals, divide_scores, joined
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
    teacher_temperature: float = 1.0
    """The guide's scores are divided by it."""
    distrust_labels: float | None = None
    """Probability of its answer at which the guide's word stands against a label's."""


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
    device, size = choose_device(), training.batch_size
    workers = choose_workers(context.data.kind, device)
    check_early_stop(training, context.task, context.data)
    judge = None
    if training.patience is not None:
        judge = make_judge(context.task, context.data, student.preprocess, size=size, device=device)
    fit(
        trainee,
        Course(context.data, preprocesses, size, views, workers),
        make_objective(trainee, replace(lesson, guide=guide), context, student.preprocess),
        training,
        seed=context.seed,
        log=TrainingLog(work, context.progress, title, partial(context.watch, title)),
        judge=judge,
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
        given = None if guide is None else guide.signals(batch, wanted)
        if hard_weight:
            hard = hard_losses(student, batch, task, device)
            if lesson.distrust_labels is not None and given is not None:
                (scores,) = given.outputs.values()
                labels = _labels(batch, device)
                hard = keep_trusted(hard, scores, labels, lesson.distrust_labels)
            parts.append(Part("hard", hard_weight, hard.mean()))
        if guide is None or given is None:  # both or neither
            return parts
        teacher = divide_scores(given, task.signals, lesson.teacher_temperature)
        targets = to_tensors(_main_targets(batch), device) if hard_weight else {}
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


def hard_losses(student: Signals, batch: TrainingBatch, task: Task, device: torch.device) -> Tensor:
    """Return the task's own loss of a batch, for each sample where the task gives it so.

    Of a mixed sample it is the loss against its own target and that against its partner's, each by
    its share (Zhang et al. 2018, whose loss for two classes this equals).

    Raises:
        ModelError: samples are mixed, and the task's loss is not one number for each sample.
    """
    own = task.loss(student.outputs, to_tensors(batch.targets, device))
    if batch.mixed is None:
        return own
    other = task.loss(student.outputs, to_tensors(batch.mixed.targets, device))
    share = torch.as_tensor(batch.mixed.share).to(device)
    if own.shape != share.shape:
        raise ModelError(
            f"the loss of the task has the shape {list(own.shape)}, and mixed samples (mixup, "
            f"cutmix) need one number for each of the {len(share)} samples; return a loss of the "
            "shape [batch], or remove these from augment"
        )
    return share * own + (1 - share) * other


def _main_targets(batch: TrainingBatch) -> Arrays:
    """Return the targets; of a mixed sample those of which it has the larger share."""
    if batch.mixed is None:
        return batch.targets
    own = batch.mixed.share >= 0.5
    return {
        name: np.where(own.reshape(-1, *[1] * (array.ndim - 1)), array, batch.mixed.targets[name])
        for name, array in batch.targets.items()
    }


def _labels(batch: TrainingBatch, device: torch.device) -> list[Tensor]:
    """Return the class of each sample, [batch]; of mixed ones also that of the partner."""
    given = [batch.targets, *([] if batch.mixed is None else [batch.mixed.targets])]
    return [to_tensors(targets, device)["label"] for targets in given]


def keep_trusted(loss: Tensor, scores: Tensor, labels: Sequence[Tensor], limit: float) -> Tensor:
    """Return the loss of the samples whose label the teacher does not contradict surely.

    Args:
        loss: of each sample, [batch].
        scores: the teacher's class scores, [batch, classes].
        labels: class of each sample, [batch]; of mixed ones also that of the partner.
        limit: probability of another class at which the label does not count.

    Returns:
        The loss [kept]; one 0 where none is left, so that its mean exists.
    """
    confidence, answer = scores.float().softmax(dim=1).max(dim=1)
    known = torch.stack([answer == label for label in labels]).any(dim=0)
    kept = loss[known | (confidence < limit)]
    return kept if len(kept) else loss[:1] * 0


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

"""What the terms of a loss need of two networks: layers found, and all checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgekd.data.dataset import Arrays
from edgekd.data.preprocess import Preprocess
from edgekd.data.text_preprocess import TextInputs
from edgekd.errors import EdgekdError, ModelError
from edgekd.networks.trainable import Model
from edgekd.step import Context
from edgekd.tasks.task import SignalKind
from edgekd.training.layer_finder import FoundLayers, find_layers
from edgekd.training.loop import TRAINED, Course, TrainingBatch, to_tensors
from edgekd.training.signals import Signals, joined
from edgekd.training.terms import Term
from edgekd.training.trainee import Trainee

CPU = torch.device("cpu")


def resolve_layers(
    terms: Sequence[Term], student: Model, teacher: Model | None, context: Context
) -> tuple[Term, ...]:
    """Return the terms with the layers that they find by themselves.

    The teacher is None where it is a bare ONNX file.

    They are returned as they are where a network's own code fails, which is told by the check that
    every network goes through.

    Raises:
        ModelError: nothing was found.
    """
    if not any(term.student_wanted.found for term in terms):
        return tuple(terms)
    own = _look(student, context)
    its = None if teacher is None else _look(teacher, context)
    if own is None or (its is None and teacher is not None):
        return tuple(terms)
    return tuple(term.with_layers(own, its, context.task.signals) for term in terms)


def describe_layers(asked: Sequence[Term], resolved: Sequence[Term]) -> tuple[str, ...]:
    """Return a line for each term whose layers were found."""
    lines = []
    for before, after in zip(asked, resolved, strict=True):
        if before.student_wanted.found and not after.student_wanted.found:
            lines.append(after.describe())
    return tuple(lines)


def check_layers(
    student: Model, teacher: Model | None, context: Context, terms: Sequence[Term]
) -> None:
    """Run two samples through both networks: what the terms compare must be there, and fit.

    The teacher is None where it is a bare ONNX file, whose values are looked for when it is opened.

    Raises:
        ModelError: a layer does not exist, or two layers or outputs to compare do not fit.
    """
    if not terms:
        return
    own = _give_example(student, context, joined(term.student_wanted for term in terms).layers)
    if teacher is None:
        return
    its = _give_example(teacher, context, joined(term.teacher_wanted for term in terms).layers)
    if own is None or its is None:
        return
    check_fit(terms, own, its, context.task.signals)
    check_tokens(terms, student.preprocess, teacher.preprocess, *_inputs(student, teacher, context))
    for term in terms:
        term.extra(own, its)


def check_fit(
    terms: Sequence[Term], student: Signals, teacher: Signals, kinds: Mapping[str, SignalKind]
) -> None:
    """Refuse outputs that cannot be compared."""
    for term in terms:
        term.check_shapes(student, teacher, kinds)


def check_tokens(
    terms: Sequence[Term],
    student: Preprocess,
    teacher: Preprocess,
    own: Arrays,
    its: Arrays,
) -> None:
    """Refuse to compare the layers of texts token by token where the tokens differ.

    Raises:
        ModelError: student and teacher cut texts into unlike tokens.
    """
    by_position = [term.kind for term in terms if term.by_position]
    if (
        not by_position
        or not isinstance(student, TextInputs)
        or not isinstance(teacher, TextInputs)
    ):
        return
    if not np.array_equal(own[student.ids], its[teacher.ids]):
        raise ModelError(
            f"the loss term {by_position[0]!r} compares layers token by token, but student and "
            "teacher cut the same texts into unlike tokens; give the student the teacher's "
            "tokenizer and length, or use terms on outputs"
        )


def tokens_of(preprocess: Preprocess, inputs: Arrays) -> NDArray[Any] | None:
    """Return the mask of the tokens of texts, if there is one."""
    if not isinstance(preprocess, TextInputs) or preprocess.mask is None:
        return None
    return inputs[preprocess.mask]


def give(trainee: Trainee, batch: TrainingBatch) -> Signals:
    """Return the signals of a network that is still on the CPU, as it is when it does not train."""
    with torch.no_grad():
        found: Signals = trainee.eval()(to_tensors(batch.inputs[TRAINED], CPU))
    return found


def _look(model: Model, context: Context) -> FoundLayers | None:
    inputs = to_tensors(_example(model, context).inputs[TRAINED], CPU)
    try:
        return find_layers(Trainee(model.deployed(context.task)), model.body, inputs)
    except Exception:  # noqa: BLE001  # user code may raise anything
        return None


def _example(model: Model, context: Context) -> TrainingBatch:
    return Course(context.data, {TRAINED: model.preprocess}, 2).example()


def _inputs(student: Model, teacher: Model, context: Context) -> tuple[Arrays, Arrays]:
    own, its = (_example(model, context).inputs[TRAINED] for model in (student, teacher))
    return own, its


def _give_example(model: Model, context: Context, layers: Sequence[str]) -> Signals | None:
    """Return the signals of two samples, or None where the network's own code fails.

    What fails there is told by the check that every network goes through next.
    """
    trainee = Trainee(model.deployed(context.task), layers=layers)
    batch = _example(model, context)
    try:
        return give(trainee, batch)
    except EdgekdError:
        raise
    except Exception:  # noqa: BLE001  # user code may raise anything
        return None

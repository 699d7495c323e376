"""The student before its training beside the teacher: how much smaller it is, and what it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgekd.artifact import Artifact
from edgekd.data.preprocess import ImagePreprocess, Preprocess
from edgekd.data.text_preprocess import TextInputs
from edgekd.distill.step import Distill
from edgekd.errors import NothingToDo, NotKnownYet, one_line
from edgekd.evaluation.audit import Difference, Skipped, StudentFacts
from edgekd.progress import Silent
from edgekd.step import Context
from edgekd.store import digest
from edgekd.user_code import title as code_title

if TYPE_CHECKING:
    from edgekd.networks.trainable import Model

_LONGEST = 60


def look_at_student(
    step: Distill, teacher: Artifact, preprocess: Preprocess, context: Context
) -> StudentFacts | Skipped:
    """Build the student of a step as it is before its training.

    Args:
        step: what trains it.
        teacher: finished, with its export.
        preprocess: the teacher's.
        context: of the run.

    Raises:
        BadInput: it cannot be built.
    """
    from edgekd.networks.blueprint import parameters
    from edgekd.networks.trainable import open_model

    def opened() -> Model:
        if not teacher.trainable:
            raise NothingToDo("it would be cut from the teacher, which is only an ONNX file")
        return open_model(teacher.folder, root=context.root)

    quiet = replace(context.only(step.needs), progress=Silent())
    try:
        model = step.build_model(opened, opened, quiet)
    except (NothingToDo, NotKnownYet) as signal:
        return Skipped(what="the student", why=one_line(signal))
    build = step.student.build
    return StudentFacts(
        name="cut from the teacher" if build is None else code_title(build),
        parameters=parameters(model.body),
        macs=_count(model, context),
        differences=compare_inputs(preprocess, model.preprocess),
    )


def _count(model: Model, context: Context) -> int | None:
    """Return the multiplications of one sample, as torch counts them."""
    import torch

    from edgekd.networks.macs import count_macs
    from edgekd.training.trainee import Trainee

    inputs = next(context.data.batches("validation", model.preprocess, size=1)).inputs[0]
    trainee = Trainee(model.deployed(context.task))
    found = count_macs(trainee, {n: torch.as_tensor(a) for n, a in inputs.items()}).total
    return math.ceil(found) or None


def compare_inputs(teacher: Preprocess, student: Preprocess) -> tuple[Difference, ...]:
    """Return what is done to samples otherwise for the one than for the other."""
    own, its = describe_input(student), describe_input(teacher)
    return tuple(
        Difference(what=what, teacher=its.get(what, "none"), student=own.get(what, "none"))
        for what in dict.fromkeys([*its, *own])
        if its.get(what) != own.get(what)
    )


def describe_input(preprocess: Preprocess) -> dict[str, str]:
    """Return what is done to a sample before a network reads it, by what it is called."""
    if isinstance(preprocess, ImagePreprocess):
        colours = "grey" if preprocess.channels == 1 else preprocess.colours.upper()
        return {
            "size": f"{preprocess.height} x {preprocess.width}",
            "colours": colours,
            "mean": _numbers(preprocess.mean),
            "deviation": _numbers(preprocess.std),
            "resize": preprocess.form.resize,
        }
    plain = preprocess.model_dump(mode="json")
    if isinstance(preprocess, TextInputs):
        names = ("ids", "mask", "types", "positions", "dtype")
        return {
            "longest text, tokens": str(preprocess.max_length),
            "tokenizer": _tokenizer(plain, {*names, "min_length", "max_length"}),
        }
    return {"arrays": ", ".join(plain.get("arrays") or plain.get("names") or [plain["kind"]])}


def _tokenizer(plain: Mapping[str, Any], leave_out: set[str]) -> str:
    content = {key: value for key, value in plain.items() if key not in leave_out}
    return f"{plain['kind']} {digest(content)[:8]}"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)[:_LONGEST]

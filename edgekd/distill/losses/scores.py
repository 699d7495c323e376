"""Class scores as rows, and distances between their distributions: what response losses share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from edgekd.errors import ModelError
from edgekd.training.signals import Signals
from edgekd.training.terms import Compared, Term

if TYPE_CHECKING:
    from torch import Tensor

    from edgekd.tasks.task import SignalKind

_LEAST_LOG = -1e4  # exp of it is 0: a class with the logit -inf then adds 0, not NaN


def class_rows(student: Tensor, teacher: Tensor, kind: SignalKind) -> tuple[Tensor, Tensor]:
    """Return the class scores of both as float32 [rows, classes].

    A row is a sample, or a pixel of a map [batch, classes, height, width]. The teacher's map is
    brought to the size of the student's. One channel is the logit of class 1 against class 0.
    """
    if kind != "class map":
        return student.float(), teacher.float()
    own, its = _two_classes(student), resize_map(_two_classes(teacher), student)
    return own.movedim(1, -1).flatten(0, -2), its.movedim(1, -1).flatten(0, -2)


def _two_classes(scores: Tensor) -> Tensor:
    import torch

    scores = scores.float()
    return scores if scores.shape[1] > 1 else torch.cat([torch.zeros_like(scores), scores], dim=1)


def resize_map(scores: Tensor, like: Tensor) -> Tensor:
    """Return a map [batch, channels, height, width] in the height and width of another."""
    import torch.nn.functional as F

    if scores.shape[2:] == like.shape[2:]:
        return scores
    return F.interpolate(scores.float(), tuple(like.shape[2:]), mode="bilinear")


def log_probabilities(logits: Tensor) -> Tensor:
    """Return the logarithms of the softmax over the last axis; those of 0 are finite."""
    import torch.nn.functional as F

    return F.log_softmax(logits.float(), dim=-1).clamp(min=_LEAST_LOG)


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(teacher || student) of each row, from logarithms of probabilities [..., n]."""
    return (teacher.exp() * (teacher - student)).sum(dim=-1)


class ScoreTerm(Term):
    """Base of the terms that compare class scores, of samples or of pixels, row by row."""

    kinds: ClassVar[frozenset[SignalKind]] = frozenset({"classes", "class map"})
    least_classes: ClassVar[int] = 2

    def check_shapes(
        self, student: Signals, teacher: Signals, kinds: Mapping[str, SignalKind]
    ) -> None:
        super().check_shapes(student, teacher, kinds)
        for name, kind in kinds.items():
            classes = class_rows(student.outputs[name], teacher.outputs[name], kind)[0].shape[1]
            if classes < self.least_classes:
                raise ModelError(
                    f"the loss term {self.kind!r} needs at least {self.least_classes} classes, and "
                    f"{name!r} has {classes}: nothing would be left to learn; use 'soft-targets'"
                )

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        return {
            name: self.compare(
                *class_rows(seen.student.outputs[name], seen.teacher.outputs[name], kind)
            )
            for name, kind in seen.kinds.items()
        }

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the loss, a scalar, of class scores float32 [rows, classes]."""
        raise NotImplementedError

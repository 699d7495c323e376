"""Losses between inner layers of student and teacher, by value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edgekd.distill.losses.response import mean_squared
from edgekd.errors import ModelError
from edgekd.training.signals import Signals, Wanted
from edgekd.training.terms import Compared, Term

if TYPE_CHECKING:
    from torch import Tensor, nn


class Hidden(Term):
    """Learn the outputs of inner layers of the teacher (FitNets, Romero et al. 2015, section 2.2).

    If the widths differ, a linear projection of the student's layer is trained too. It does not
    ship. Feature maps of another size are averaged to the size of the student's.
    """

    kind: Literal["hidden"] = "hidden"
    layers: dict[str, str] = Field(
        min_length=1,
        description="layer of the student = layer of the teacher, both as paths; for an ONNX "
        "teacher, the name of a value in its graph",
    )

    @property
    def student_wanted(self) -> Wanted:
        return Wanted(outputs=False, layers=tuple(self.layers))

    @property
    def teacher_wanted(self) -> Wanted:
        return Wanted(outputs=False, layers=tuple(self.layers.values()))

    def extra(self, student: Signals, teacher: Signals) -> nn.Module | None:
        from torch import nn

        pairs = [(student.layers[own], teacher.layers[its]) for own, its in self.layers.items()]
        return nn.ModuleList([_projection(*pair) for pair in pairs])

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        from torch import nn

        assert isinstance(seen.extra, nn.ModuleList)  # what `extra` made
        found = {}
        for (own, its), projection in zip(self.layers.items(), seen.extra, strict=True):
            projected = projection(seen.student.layers[own].float())
            found[own] = mean_squared(projected, _as_large(seen.teacher.layers[its], projected))
        return found


def _projection(student: Tensor, teacher: Tensor) -> nn.Module:
    """Return what brings the student's layer to the width of the teacher's.

    Maps are [batch, channels, height, width]; of all else the last axis is the width.

    Raises:
        ModelError: the layers differ in more than the width.
    """
    from torch import nn

    maps = student.ndim == 4
    if student.ndim != teacher.ndim or (not maps and student.shape[1:-1] != teacher.shape[1:-1]):
        raise ModelError(
            f"the loss term 'hidden' cannot compare a layer of shape {list(student.shape)} of the "
            f"student with one of shape {list(teacher.shape)} of the teacher; name layers that "
            "differ in their channels only"
        )
    axis = 1 if maps else -1
    width, wanted = student.shape[axis], teacher.shape[axis]
    if width == wanted:
        return nn.Identity()
    return nn.Conv2d(width, wanted, 1) if maps else nn.Linear(width, wanted)


def _as_large(teacher: Tensor, student: Tensor) -> Tensor:
    import torch.nn.functional as F

    if teacher.ndim != 4 or teacher.shape == student.shape:
        return teacher
    return F.adaptive_avg_pool2d(teacher.float(), (student.shape[2], student.shape[3]))

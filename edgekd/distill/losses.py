"""The distillation losses: pure functions of tensors, and the loss terms of a recipe.

A term is added by one function here and one class, which `AnyTerm` lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from edgekd.errors import ModelError
from edgekd.training.signals import Signals, Wanted
from edgekd.training.terms import Term

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgekd.tasks.task import SignalKind


def soft_targets(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Mean KL(teacher || student) times temperature squared (Hinton 2015, section 2).

    Logits, shape [batch, classes]; a scalar comes out.
    """
    import torch.nn.functional as F

    log_p = F.log_softmax(student.float() / temperature, dim=-1)
    log_q = F.log_softmax(teacher.float() / temperature, dim=-1)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * temperature**2


def soft_labels(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean binary cross entropy to the teacher's probabilities: for labels that may coincide.

    Logits of any equal shape; a scalar comes out.
    """
    import torch.nn.functional as F

    return F.binary_cross_entropy_with_logits(student.float(), teacher.float().sigmoid())


def mean_squared(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference. Any equal shape; a scalar comes out."""
    return (student.float() - teacher.float()).square().mean()


class SoftTargets(Term):
    """Learn the outputs of the teacher; class scores are softened by the temperature."""

    kinds: ClassVar[frozenset[SignalKind]] = frozenset(
        {"classes", "class map", "labels", "values", "embedding"}
    )
    kind: Literal["soft-targets"] = "soft-targets"
    weight: float = Field(0.9, ge=0, le=1e6, description="weight in the sum of all losses")
    temperature: float = Field(
        4.0, gt=0, le=100, description="temperature of both softmaxes; classes only"
    )

    def parts(
        self,
        student: Signals,
        teacher: Signals,
        kinds: Mapping[str, SignalKind],
        extra: nn.Module | None,
    ) -> dict[str, Tensor]:
        return {
            name: self._compare(student.outputs[name], teacher.outputs[name], kind)
            for name, kind in kinds.items()
        }

    def _compare(self, student: Tensor, teacher: Tensor, kind: SignalKind) -> Tensor:
        if kind == "class map":
            student, teacher = (x.movedim(1, -1).flatten(0, -2) for x in (student, teacher))
        if kind in ("classes", "class map"):
            return soft_targets(student, teacher, temperature=self.temperature)
        return (soft_labels if kind == "labels" else mean_squared)(student, teacher)


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

    def parts(
        self,
        student: Signals,
        teacher: Signals,
        kinds: Mapping[str, SignalKind],
        extra: nn.Module | None,
    ) -> dict[str, Tensor]:
        from torch import nn

        assert isinstance(extra, nn.ModuleList)  # what `extra` made
        found = {}
        for (own, its), projection in zip(self.layers.items(), extra, strict=True):
            projected = projection(student.layers[own].float())
            found[own] = mean_squared(projected, _as_large(teacher.layers[its], projected))
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


AnyTerm = Annotated[SoftTargets | Hidden, Field(discriminator="kind")]
"""Every term that a recipe may name. A new one is added here."""

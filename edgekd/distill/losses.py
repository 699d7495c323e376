"""Distillation losses: pure functions of tensors, one class of options each.

A loss is added by one function here and one class in `Loss`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from edgekd.errors import RecipeError
from edgekd.options import Options

if TYPE_CHECKING:
    from torch import Tensor

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
    """Mean binary cross entropy to the teacher's chances: for outputs that are not exclusive.

    Logits of any equal shape; a scalar comes out.
    """
    import torch.nn.functional as F

    return F.binary_cross_entropy_with_logits(student.float(), teacher.float().sigmoid())


def soft_values(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference, for outputs that are numbers. Any equal shape; scalar out."""
    return (student.float() - teacher.float()).square().mean()


class SoftTargets(Options):
    """The teacher's outputs as targets, with the labels: (1 - weight) hard + weight soft."""

    kind: Literal["soft-targets"] = "soft-targets"
    temperature: float = Field(4.0, gt=0, le=100, description="softens both; classes only")
    weight: float = Field(0.9, ge=0, le=1, description="share of the soft loss; 0 is labels alone")

    def fits(self, signals: Mapping[str, SignalKind]) -> None:
        """Refuse a task that this loss has no term for.

        Raises:
            RecipeError: one of the outputs is of a kind without a term.
        """
        known = ("classes", "labels", "values", "embedding")
        for name, kind in signals.items():
            if kind not in known:
                raise RecipeError(
                    f"loss 'soft-targets' has no term for the output {name!r} of kind {kind!r}; "
                    f"it knows {', '.join(known)}"
                )

    def __call__(
        self,
        student: Mapping[str, Tensor],
        teacher: Mapping[str, Tensor],
        hard: Tensor,
        signals: Mapping[str, SignalKind],
    ) -> Tensor:
        """Return the scalar loss; `hard` is the task's loss per sample, shape [batch]."""
        total = (1 - self.weight) * hard.mean()
        for name, kind in signals.items():
            if kind == "classes":
                term = soft_targets(student[name], teacher[name], temperature=self.temperature)
            elif kind == "labels":
                term = soft_labels(student[name], teacher[name])
            else:
                term = soft_values(student[name], teacher[name])
            total = total + self.weight * term
        return total


Loss = SoftTargets
"""The union of all losses a recipe may name; more kinds make it a discriminated union."""

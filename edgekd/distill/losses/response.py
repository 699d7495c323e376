"""Losses between the outputs of student and teacher, one sample or pixel at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgekd.distill.losses.scores import (
    ScoreTerm,
    class_rows,
    divergence,
    log_probabilities,
    resize_map,
)
from edgekd.training.terms import Compared, Term

if TYPE_CHECKING:
    from torch import Tensor

    from edgekd.tasks.task import SignalKind


def soft_targets(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Mean KL(teacher || student) times temperature squared (Hinton 2015, section 2).

    Logits, shape [rows, classes]; a scalar comes out.
    """
    own = log_probabilities(student / temperature)
    its = log_probabilities(teacher / temperature)
    return divergence(own, its).mean() * temperature**2


def soft_labels(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean binary cross entropy to the teacher's probabilities: for labels that may coincide.

    Logits of any equal shape; a scalar comes out.
    """
    import torch.nn.functional as F

    return F.binary_cross_entropy_with_logits(student.float(), teacher.float().sigmoid())


def mean_squared(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference. Any equal shape; a scalar comes out."""
    return (student.float() - teacher.float()).square().mean()


def standardised(logits: Tensor) -> Tensor:
    """Return logits [rows, classes] with mean 0 and standard deviation 1 in each row.

    Sun et al. 2024 (arXiv 2403.01427), algorithm 1. A row of equal logits becomes 0.
    """
    centred = logits.float() - logits.float().mean(dim=-1, keepdim=True)
    # under the root: the derivative of a root at 0 is infinite
    deviation = (centred.square().mean(dim=-1, keepdim=True) + 1e-12).sqrt()
    return centred / deviation


def top_targets(student: Tensor, teacher: Tensor, *, top: int, temperature: float) -> Tensor:
    """Mean KL times temperature squared, over the teacher's `top` classes and the rest as one.

    Logits, shape [rows, classes]; a scalar comes out. If there are no more than `top` classes, it
    is `soft_targets`.
    """
    import torch

    if top >= student.shape[-1]:
        return soft_targets(student, teacher, temperature=temperature)
    index = teacher.topk(top, dim=-1).indices
    own, its = (
        torch.cat([logits.gather(-1, index), _rest(logits, index)], dim=-1)
        for logits in (student.float() / temperature, teacher.float() / temperature)
    )
    return divergence(log_probabilities(own), log_probabilities(its)).mean() * temperature**2


def _rest(logits: Tensor, index: Tensor) -> Tensor:
    """Return the logit [rows, 1] of all classes together but those at `index` [rows, top]."""
    return logits.scatter(-1, index, float("-inf")).logsumexp(dim=-1, keepdim=True)


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

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        return {
            name: self._compare(seen.student.outputs[name], seen.teacher.outputs[name], kind)
            for name, kind in seen.kinds.items()
        }

    def _compare(self, student: Tensor, teacher: Tensor, kind: SignalKind) -> Tensor:
        if kind in ("classes", "class map"):
            return soft_targets(*class_rows(student, teacher, kind), temperature=self.temperature)
        return (soft_labels if kind == "labels" else mean_squared)(student, teacher)


class Logits(Term):
    """Learn the logits themselves, by the mean squared difference (Ba and Caruana 2014)."""

    kinds: ClassVar[frozenset[SignalKind]] = frozenset({"classes", "class map", "labels"})
    kind: Literal["logits"] = "logits"

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        found = {}
        for name, kind in seen.kinds.items():
            own, its = seen.student.outputs[name], seen.teacher.outputs[name]
            found[name] = mean_squared(own, resize_map(its, own) if kind == "class map" else its)
        return found


class Standardised(ScoreTerm):
    """Soft targets of logits that are standardised for each sample (Sun et al. 2024).

    The student need not have the teacher's range of logits, only their relations.
    """

    least_classes: ClassVar[int] = 3  # two standardised logits are always 1 and -1
    kind: Literal["standardised"] = "standardised"
    temperature: float = Field(2.0, gt=0, le=100, description="temperature of both softmaxes")

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        own, its = standardised(student), standardised(teacher)
        return soft_targets(own, its, temperature=self.temperature)


class TopTargets(ScoreTerm):
    """Soft targets of the teacher's most probable classes; all others count as one class."""

    kind: Literal["top-targets"] = "top-targets"
    top: int = Field(10, ge=1, description="number of classes that are compared one by one")
    temperature: float = Field(4.0, gt=0, le=100, description="temperature of both softmaxes")

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        return top_targets(student, teacher, top=self.top, temperature=self.temperature)

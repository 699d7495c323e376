"""DIST: the student learns how predictions relate, not their values (Huang et al. 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgekd.distill.losses.scores import ScoreTerm

if TYPE_CHECKING:
    from torch import Tensor


_LEAST_SQUARE = 1e-8
"""Added to the squared length of deviations: where probabilities hardly differ, as those of a
network that gives one answer to everything, the slope would have no bound."""


def pearson(a: Tensor, b: Tensor) -> Tensor:
    """Return the correlation over the last axis of two equal shapes; 0 where one is constant."""
    a, b = (x - x.mean(dim=-1, keepdim=True) for x in (a, b))
    lengths = [(x.square().sum(dim=-1) + _LEAST_SQUARE).sqrt() for x in (a, b)]
    return (a * b).sum(dim=-1) / (lengths[0] * lengths[1])


def dist(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float,
    class_weight: float = 1.0,
    batch_weight: float = 1.0,
) -> Tensor:
    """Return 1 - Pearson of probabilities, over classes and over rows, weighted and summed.

    arXiv 2205.10536, equations 9 to 11, times temperature squared as in the authors' code. Logits,
    shape [rows, classes]; a scalar comes out. A single row has no correlation over rows: that part
    is then 0.
    """
    own, its = ((x.float() / temperature).softmax(dim=-1) for x in (student, teacher))
    loss = class_weight * (1 - pearson(own, its)).mean()
    if len(own) > 1:
        loss = loss + batch_weight * (1 - pearson(own.T, its.T)).mean()
    return loss * temperature**2


class Dist(ScoreTerm):
    """Learn correlations: of the classes of a sample, and of the samples of a batch (DIST).

    A student much smaller than its teacher cannot have its probabilities, but can rank like it.
    """

    least_batch: ClassVar[int] = 2
    kind: Literal["dist"] = "dist"
    weight: float = Field(2.0, ge=0, le=1e6, description="weight in the sum of all losses")
    temperature: float = Field(1.0, gt=0, le=100, description="temperature of both softmaxes")
    class_weight: float = Field(
        1.0, ge=0, le=1e6, description="weight of the correlation over the classes of a sample"
    )
    batch_weight: float = Field(
        1.0, ge=0, le=1e6, description="weight of the correlation over the samples of a batch"
    )

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        return dist(
            student,
            teacher,
            temperature=self.temperature,
            class_weight=self.class_weight,
            batch_weight=self.batch_weight,
        )

"""Losses on how the samples of a batch relate: distances, angles, similarities, contrast.

They compare vectors of any width, so a narrow student needs no projection (but for the contrast).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from edgekd.distill.losses.layers import LayerTerm
from edgekd.training.signals import Signals, Wanted
from edgekd.training.terms import Compared

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgekd.tasks.task import SignalKind
    from edgekd.training.layer_finder import FoundLayers

MOST_FOR_ANGLES = 128
"""Samples of a batch whose angles are compared: triples grow with the third power."""


def distances(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-D: the Huber loss of all distances in units of their mean, mean over pairs.

    Park et al. 2019 (arXiv 1904.05068), equations 5 to 8. Vectors [batch, width] of at least two
    samples; the widths may differ.
    """
    import torch
    import torch.nn.functional as F

    pairs = torch.triu_indices(len(student), len(student), 1, device=student.device)
    lengths = []
    for vectors in (student, teacher):
        between = vectors.float()[pairs[0]] - vectors.float()[pairs[1]]
        each = (between.square().sum(dim=1) + 1e-12).sqrt()  # two equal samples: a finite slope
        lengths.append(each / each.mean())
    return F.smooth_l1_loss(lengths[0], lengths[1])


def angles(student: Tensor, teacher: Tensor) -> Tensor:
    """RKD-A: the Huber loss of the cosines at j between i and k, mean over all unlike i, j, k.

    Park et al. 2019, equations 9 to 11. Vectors [batch, width] of at least three samples, of which
    the first 128 count; the widths may differ.
    """
    import torch
    import torch.nn.functional as F

    own, its = (_cosines(vectors.float()[:MOST_FOR_ANGLES]) for vectors in (student, teacher))
    count = len(own)
    same = torch.eye(count, dtype=torch.bool, device=own.device)
    unlike = ~(same[:, :, None] | same[:, None, :] | same[None, :, :])
    return F.smooth_l1_loss(own[unlike], its[unlike])


def _cosines(vectors: Tensor) -> Tensor:
    """Return [j, i, k]: the cosine of the angle at j between i and k."""
    import torch.nn.functional as F

    towards = F.normalize(vectors[None] - vectors[:, None], dim=2, eps=1e-6)
    return towards @ towards.transpose(1, 2)


def similarities(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the products of all samples, each row with length 1.

    Tung and Mori 2019 (arXiv 1907.09682), equations 2 to 4. Any shapes [batch, ...].
    """
    import torch.nn.functional as F

    own, its = (x.float().flatten(1) for x in (student, teacher))
    own, its = (F.normalize(x @ x.T, dim=1, eps=1e-8) for x in (own, its))
    return (own - its).square().mean()


def contrast(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """InfoNCE: of all teacher's vectors of the batch, each student's must find its own.

    The in-batch form of Tian et al. 2020 (CRD, arXiv 1910.10699), with the loss of van den Oord et
    al. 2018. Vectors [batch, width] of equal width; cosines over the temperature are the scores.
    """
    import torch
    import torch.nn.functional as F

    own, its = (F.normalize(x.float(), dim=1, eps=1e-8) for x in (student, teacher))
    scores = own @ its.T / temperature
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


def vectors_of(layer: Tensor, tokens: Tensor | None) -> Tensor:
    """Return one vector for each sample: the mean of a map, or of the tokens but the padding."""
    layer = layer.float()
    if layer.ndim == 4:
        return layer.mean(dim=(2, 3))
    if layer.ndim != 3:
        return layer.flatten(1)
    if tokens is None or tokens.shape != layer.shape[:2]:
        return layer.mean(dim=1)
    counted = (tokens != 0).to(layer.dtype)[..., None]
    return (layer * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


class SampleTerm(LayerTerm):
    """Base of the terms that compare the samples of a batch with each other.

    Where a task's outputs are vectors, these are compared; else the last stage or block.
    """

    only_last: ClassVar[bool] = True
    least_batch: ClassVar[int] = 2

    def _wanted(self, layers: tuple[str, ...]) -> Wanted:
        return Wanted(outputs=self.layers == {}, layers=layers, found=self.layers is None)

    def with_layers(
        self,
        student: FoundLayers,
        teacher: FoundLayers | None,
        kinds: Mapping[str, SignalKind],
    ) -> Self:
        if self.layers is None and set(kinds.values()) == {"embedding"}:
            return self.model_copy(update={"layers": {}})
        return super().with_layers(student, teacher, kinds)

    def check(self, signals: Mapping[str, SignalKind]) -> None:
        return

    def check_shapes(
        self, student: Signals, teacher: Signals, kinds: Mapping[str, SignalKind]
    ) -> None:
        return  # the widths may differ

    def describe(self) -> str:
        if self.layers:
            return super().describe()
        return f"{self.kind}: compares the vectors that the networks return"

    def pairs(self, student: Signals, teacher: Signals) -> list[tuple[str, Tensor, Tensor]]:
        if self.layers:
            return super().pairs(student, teacher)
        return [(name, own, teacher.outputs[name]) for name, own in student.outputs.items()]

    def vectors(self, seen: Compared) -> list[tuple[str, Tensor, Tensor]]:
        """Return the pairs as vectors; none of a batch too small to compare its samples."""
        found = self.pairs(seen.student, seen.teacher)
        return [
            (path, vectors_of(own, seen.tokens), vectors_of(its, seen.teacher_tokens))
            for path, own, its in found
            if len(own) >= self.least_batch
        ]


class Rkd(SampleTerm):
    """Learn how far apart the samples of a batch are, and at which angles (RKD)."""

    least_batch: ClassVar[int] = 3
    kind: Literal["rkd"] = "rkd"
    distance_weight: float = Field(
        25.0, ge=0, le=1e6, description="weight of the distances between two samples"
    )
    angle_weight: float = Field(
        50.0, ge=0, le=1e6, description="weight of the angles between three samples"
    )

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        return {
            path: self.distance_weight * distances(own, its) + self.angle_weight * angles(own, its)
            for path, own, its in self.vectors(seen)
        }


class Similarity(SampleTerm):
    """Learn which samples of a batch are alike for the teacher (similarity-preserving).

    Whole maps are compared, not their means.
    """

    kind: Literal["similarity"] = "similarity"
    weight: float = Field(3000.0, ge=0, le=1e6, description="weight in the sum of all losses")

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        found = self.pairs(seen.student, seen.teacher)
        return {
            path: similarities(_unpadded(own, seen.tokens), _unpadded(its, seen.teacher_tokens))
            for path, own, its in found
            if len(own) >= self.least_batch
        }


def _unpadded(layer: Tensor, tokens: Tensor | None) -> Tensor:
    if tokens is None or layer.ndim != 3 or tokens.shape != layer.shape[:2]:
        return layer
    return layer * (tokens != 0)[..., None]


class Contrast(SampleTerm):
    """Tell the teacher's vector of the same sample from those of all other samples of the batch.

    A linear projection of the student's vector is trained too. It does not ship.
    """

    kind: Literal["contrast"] = "contrast"
    temperature: float = Field(0.07, gt=0, le=100, description="divides the cosines")

    def extra(self, student: Signals, teacher: Signals) -> nn.Module | None:
        from torch import nn

        widths = [
            (vectors_of(own, None).shape[1], vectors_of(its, None).shape[1])
            for _, own, its in self.pairs(student, teacher)
        ]
        return nn.ModuleList([nn.Linear(own, its) for own, its in widths])

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        from torch import nn

        assert isinstance(seen.extra, nn.ModuleList)
        found = {}
        for projection, (path, own, its) in zip(seen.extra, self.vectors(seen), strict=False):
            found[path] = contrast(projection(own), its, temperature=self.temperature)
        return found

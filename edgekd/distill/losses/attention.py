"""Losses on attention: where the maps of a network are active, and how its tokens relate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgekd.distill.losses.layers import LayerTerm, Place, as_large, mean_over_tokens
from edgekd.distill.losses.scores import divergence, log_probabilities
from edgekd.errors import ModelError
from edgekd.training.attention_taps import PARTS
from edgekd.training.signals import Signals, Wanted
from edgekd.training.terms import Compared

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_HEADS, LEAST_WIDTH = 48, 8
"""Relation heads of the paper's base models, and the width of a head of its narrowest student."""


def attention_maps(student: Tensor, teacher: Tensor) -> Tensor:
    """Squared distance of the attention maps, mean over samples.

    Zagoruyko and Komodakis 2017 (arXiv 1612.03928), equation 2: the squares of a map are summed
    over its channels and the result has length 1. The teacher's is averaged to the student's size.

    Args:
        student: [batch, channels, height, width].
        teacher: the same with any channels, height and width.
    """
    import torch.nn.functional as F

    own = student.float().square().mean(dim=1, keepdim=True)
    its = as_large(teacher.float().square().mean(dim=1, keepdim=True), own)
    own, its = (F.normalize(x.flatten(1), dim=1, eps=1e-8) for x in (own, its))
    return (own - its).square().sum(dim=1).mean()


def relation(student: Tensor, teacher: Tensor, *, heads: int, tokens: Tensor | None) -> Tensor:
    """KL between the relations of tokens, mean over tokens and heads.

    MiniLMv2 (Wang et al. 2021, arXiv 2012.15828), equations 4 to 6: vectors are cut into `heads`
    parts of d numbers; the relation of two tokens is their product over sqrt(d), and the softmax
    goes over the second token.

    Args:
        student: queries, keys or values [batch, length, width].
        teacher: the same of any width.
        heads: divides both widths.
        tokens: [batch, length]: 0 for padding, which does not count; None: all count.
    """
    own, its = (_relations(x, heads, tokens) for x in (student, teacher))
    return mean_over_tokens(divergence(own, its).mean(dim=1), tokens)


def _relations(vectors: Tensor, heads: int, tokens: Tensor | None) -> Tensor:
    """Return logarithms of softmaxes [batch, heads, length, length]."""
    batch, length, width = vectors.shape
    parts = vectors.float().reshape(batch, length, heads, width // heads).transpose(1, 2)
    scores = parts @ parts.transpose(2, 3) / math.sqrt(width // heads)
    if tokens is not None:
        scores = scores.masked_fill((tokens == 0)[:, None, None, :], -1e4)
    return log_probabilities(scores)


def choose_heads(student: int, teacher: int) -> int:
    """Return the most heads, up to 48, that divide both widths and leave the student's 8 wide."""
    common = math.gcd(student, teacher)
    fit = [
        heads
        for heads in range(1, MOST_HEADS + 1)
        if common % heads == 0 and student // heads >= LEAST_WIDTH
    ]
    return max(fit, default=1)


class AttentionMaps(LayerTerm):
    """Learn where the teacher's feature maps are active, whatever their channels (AT)."""

    places: ClassVar[tuple[Place, ...]] = ("stages",)
    kind: Literal["attention-maps"] = "attention-maps"

    def extra(self, student: Signals, teacher: Signals) -> None:
        for path, own, its in self.pairs(student, teacher):
            if own.ndim != 4 or its.ndim != 4:
                raise ModelError(
                    f"the loss term {self.kind!r} compares feature maps [batch, channels, height, "
                    f"width]; {path!r} is {list(own.shape)}, and the teacher's layer "
                    f"{list(its.shape)}: name other layers"
                )

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        pairs = self.pairs(seen.student, seen.teacher)
        return {path: attention_maps(own, its) for path, own, its in pairs}


class Relations(LayerTerm):
    """Learn how queries, keys and values of the tokens relate (MiniLMv2).

    Widths and numbers of heads may differ. Layers are attentions; of those that are found, the last
    one of each network is compared.
    """

    places: ClassVar[tuple[Place, ...]] = ("attentions",)
    only_last: ClassVar[bool] = True
    by_position: ClassVar[bool] = True
    kind: Literal["relations"] = "relations"
    heads: int | None = Field(
        None,
        ge=1,
        le=1024,
        examples=[12],
        description="relation heads, a divisor of both widths; default: the most of up to 48 with "
        "at least 8 numbers each in the student",
    )

    def _wanted(self, layers: tuple[str, ...]) -> Wanted:
        parts = tuple(f"{layer}:{part}" for layer in layers for part in PARTS)
        return Wanted(outputs=False, layers=parts, found=self.layers is None)

    def extra(self, student: Signals, teacher: Signals) -> nn.Module | None:
        for own, its in (self.layers or {}).items():
            for part in PARTS:
                self._check(student.layers[f"{own}:{part}"], teacher.layers[f"{its}:{part}"], own)
        return None

    def _check(self, student: Tensor, teacher: Tensor, path: str) -> None:
        if student.ndim != 3 or student.shape[:2] != teacher.shape[:2]:
            raise ModelError(
                f"the loss term {self.kind!r} compares queries [batch, tokens, width] of equal "
                f"tokens; those of {path!r} are {list(student.shape)}, the teacher's "
                f"{list(teacher.shape)}"
            )
        widths = student.shape[2], teacher.shape[2]
        if self.heads and any(width % self.heads for width in widths):
            raise ModelError(
                f"heads = {self.heads} of the loss term {self.kind!r} does not divide the widths "
                f"{widths[0]} of the student and {widths[1]} of the teacher; "
                f"{choose_heads(*widths)} does"
            )

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        found = {}
        for own, its in (self.layers or {}).items():
            for part in PARTS:
                student = seen.student.layers[f"{own}:{part}"]
                teacher = seen.teacher.layers[f"{its}:{part}"]
                heads = self.heads or choose_heads(student.shape[-1], teacher.shape[-1])
                found[f"{own}:{part}"] = relation(student, teacher, heads=heads, tokens=seen.tokens)
        return found

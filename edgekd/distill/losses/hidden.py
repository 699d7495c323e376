"""Losses between inner layers of student and teacher, by value and by direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from edgekd.distill.losses.layers import LayerTerm, mean_over_tokens
from edgekd.training.signals import Signals
from edgekd.training.terms import Compared

if TYPE_CHECKING:
    from torch import Tensor, nn


def squared_distance(student: Tensor, teacher: Tensor, tokens: Tensor | None = None) -> Tensor:
    """Mean squared difference of two equal shapes; padding of texts does not count.

    Args:
        student: maps [batch, channels, height, width], or [batch, ..., width].
        teacher: the same.
        tokens: [batch, length]: 0 for padding.
    """
    each = (student.float() - teacher.float()).square()
    return mean_over_tokens(each.mean(dim=-1), tokens)


def direction_distance(student: Tensor, teacher: Tensor, tokens: Tensor | None = None) -> Tensor:
    """1 - cosine of each vector, on average (DistilBERT, Sanh et al. 2019, section 3).

    A vector is a pixel of a map, a token, or a sample; padding of texts does not count.
    """
    import torch.nn.functional as F

    axis = 1 if student.ndim == 4 else -1
    each = 1 - F.cosine_similarity(student.float(), teacher.float(), dim=axis)
    return mean_over_tokens(each, tokens)


class Hidden(LayerTerm):
    """Learn the outputs of inner layers of the teacher (FitNets, Romero et al. 2015, section 2.2).

    If the widths differ, a linear projection of the student's layer is trained too. It does not
    ship. Feature maps of another size are averaged to the size of the student's.
    """

    by_position: ClassVar[bool] = True
    kind: Literal["hidden"] = "hidden"

    def extra(self, student: Signals, teacher: Signals) -> nn.Module | None:
        return self.projections(student, teacher)

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        return {
            path: squared_distance(own, its, seen.tokens) for path, own, its in self.projected(seen)
        }


class Cosine(LayerTerm):
    """Learn the direction of the teacher's hidden states, not their length (DistilBERT).

    If the widths differ, a linear projection of the student's layer is trained too. It does not
    ship.
    """

    by_position: ClassVar[bool] = True
    kind: Literal["cosine"] = "cosine"

    def extra(self, student: Signals, teacher: Signals) -> nn.Module | None:
        return self.projections(student, teacher)

    def parts(self, seen: Compared) -> dict[str, Tensor]:
        return {
            path: direction_distance(own, its, seen.tokens)
            for path, own, its in self.projected(seen)
        }

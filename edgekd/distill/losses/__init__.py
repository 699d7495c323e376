"""The distillation losses: pure functions of tensors, and the loss terms of a recipe.

A term is one function and one class in a file of its own, and one line here.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgekd.distill.losses.attention import AttentionMaps, Relations
from edgekd.distill.losses.decoupled import Decoupled
from edgekd.distill.losses.dist import Dist
from edgekd.distill.losses.hidden import Cosine, Hidden
from edgekd.distill.losses.response import Logits, SoftTargets, Standardised, TopTargets
from edgekd.distill.losses.samples import Contrast, Rkd, Similarity

AnyTerm = Annotated[
    SoftTargets
    | Logits
    | Standardised
    | Dist
    | Decoupled
    | TopTargets
    | Hidden
    | Cosine
    | AttentionMaps
    | Relations
    | Rkd
    | Similarity
    | Contrast,
    Field(discriminator="kind"),
]
"""Every term that a recipe may name. A new one is added here."""

__all__ = [
    "AnyTerm",
    "AttentionMaps",
    "Contrast",
    "Cosine",
    "Decoupled",
    "Dist",
    "Hidden",
    "Logits",
    "Relations",
    "Rkd",
    "Similarity",
    "SoftTargets",
    "Standardised",
    "TopTargets",
]

"""The options of `[data]` that say how a picture becomes pixels. `pictures.py` does it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgekd.data.pictures import Form
from edgekd.options import Options


class FormOptions(Options):
    """How pictures of any size and aspect become pixels of one size."""

    resize: Literal["crop", "stretch", "pad"] = Field(
        default="crop",
        examples=["crop"],
        description="how a picture of another aspect becomes that size: crop cuts out its centre, "
        "stretch changes its aspect, pad adds borders",
    )
    interpolation: Literal["bilinear", "bicubic", "nearest"] = Field(
        default="bilinear", description="filter of the resize; nearest computes no new values"
    )
    antialias: bool = Field(
        default=True, description="average over all pixels when a picture shrinks, as Pillow does"
    )
    pad_value: int = Field(
        default=114, ge=0, le=255, description="grey level of the borders that resize = 'pad' adds"
    )
    background: int = Field(
        default=255, ge=0, le=255, description="grey level behind transparent pixels"
    )

    def form(self, height: int = 1, width: int = 1, channels: int = 3) -> Form:
        """Return what a picture becomes, and how."""
        return Form(
            height=height,
            width=width,
            channels=1 if channels == 1 else 3,
            **{name: getattr(self, name) for name in FormOptions.model_fields},
        )

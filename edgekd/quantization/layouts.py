"""Layouts: what one family of runtimes wants of a static Q/DQ graph."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.artifact import Variant
from edgekd.quantization.plan import Activations


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a static INT8 graph is laid out for the runtimes that one variant is for."""

    variant: Variant
    activations: Activations
    """`uint8` with a zero point, or symmetric `int8` with zero point 0."""
    absorbs: bool
    """Whether a Relu or Clip behind a layer goes, as the range of what it gives clips as well."""
    reads_pixels: bool
    """Whether a convolution reads uint8 pixels as they are, with their scale in its weight."""


ONNX_RUNTIME = Layout(variant="int8", activations="uint8", absorbs=True, reads_pixels=True)
"""ONNX Runtime's CPU kernels fuse uint8 activations with int8 weights."""
XNNPACK = Layout(variant="int8-xnnpack", activations="int8", absorbs=False, reads_pixels=False)
"""XNNPACK needs the same signedness for activations and weights, and weights are always signed."""

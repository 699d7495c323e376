"""Layouts: what one family of runtimes wants of a static Q/DQ graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekd.artifact import Variant
from edgekd.quantization.plan import Activations


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a static INT8 graph is laid out for the runtimes that one variant is for."""

    variant: Variant
    activations: Activations
    """`uint8` with a zero point, or symmetric `int8` with zero point 0."""
    bias: Literal["int32", "float32"]
    """`int32` at the scale of data times weight, or as it was."""
    rounds: Literal["regions", "inputs"]
    """All tensors between layers, so that data stays in 8 bits; or what layers and residual
    additions read, and nothing that a layer gives: the runtime fuses what is between by itself."""
    absorbs: bool = False
    """Whether a Relu or Clip behind a layer goes, as the range of what it gives clips as well."""
    reads_pixels: bool = False
    """Whether a convolution reads uint8 pixels as they are, with their scale in its weight."""

    fits_16_bits: bool = True
    """Whether weights are kept such that an x86 processor without VNNI computes the same."""
    casts_inputs_first: bool = False
    """Whether a uint8 input is cast before its values are moved."""
    most_opset: int | None = None
    """The operator set that a file is lowered to where it can be."""


ONNX_RUNTIME = Layout(
    variant="int8",
    activations="uint8",
    bias="int32",
    rounds="regions",
    absorbs=True,
    reads_pixels=True,
)
"""ONNX Runtime's CPU kernels fuse uint8 activations with int8 weights."""
XNNPACK = Layout(
    variant="int8-xnnpack",
    activations="int8",
    bias="int32",
    rounds="regions",
    most_opset=20,
)
"""XNNPACK needs the same signedness for activations and weights, and weights are always signed.

At operator set 21 ONNX Runtime 1.31 refuses some: on x86 it makes uint8 of int8, but not in the
nodes that it adds."""
TENSORRT = Layout(
    variant="int8-tensorrt",
    activations="int8",
    bias="float32",
    rounds="inputs",
    fits_16_bits=False,
    casts_inputs_first=True,
    most_opset=20,
)
"""TensorRT's parser refuses zero points other than 0 and biases in int32, and that of 10.3, which
JetPack 6 has, operator sets beyond 20. It fuses a layer with the
Relu and the addition behind it, and a Q between them would split that."""

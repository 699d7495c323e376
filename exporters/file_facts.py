"""Facts about an ONNX file as plain values, so that reading a record needs no onnx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Entry:
    """An input or output of a file."""

    name: str
    dtype: str
    """As numpy calls it: uint8, int64, float32."""
    shape: tuple[int | str, ...]
    """Fixed lengths and symbolic names; "?" where the file gives none."""


@dataclass(frozen=True, kw_only=True)
class OnnxFacts:
    """Facts about a file; equal files give equal facts."""

    parameters: int
    """Elements of all weights and biases, shared ones once; scales and scalars are none."""
    macs: int | None
    """Multiply-accumulates of one pass at batch 1; None: they depend on a length not given."""
    int8_share: float | None
    """Share of `macs` whose weight and other factor both come as 8-bit integers; None: no macs."""
    int8_bytes_share: float | None
    """Share of the bytes of all weights and biases that are integers of 8 bits or fewer; None: no
    weights."""
    size_bytes: int
    opset: int
    inputs: tuple[Entry, ...]
    outputs: tuple[Entry, ...]
    operators: Mapping[str, int]
    """The number of each operator, with subgraphs; sorted by name."""
    float_weights: Mapping[str, float] = field(default_factory=dict)
    """Operator -> share of the elements of all weights and biases that it reads as floats."""
    float_type: str = "float32"
    """The type that most float weights are stored in."""


@dataclass(frozen=True, kw_only=True)
class Kernels:
    """The optimized graph of one file on this machine's CPU.

    `fp32_layers` counts products of two activations (attention) too: those never become INT8.
    """

    int8_layers: int
    fp32_layers: int
    quantize_left: int
    """QuantizeLinear nodes that run by themselves; one at the entry is normal."""
    dequantize_left: int
    operators: Mapping[str, int]

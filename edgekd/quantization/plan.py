"""The plan of a quantization: a frozen value, made from a float graph and measured ranges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgekd.quantization.pixels import Pixels

Activations = Literal["uint8", "int8"]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The 8-bit values of one activation: real = scale * (integer - zero)."""

    dtype: Activations
    scale: np.float32
    zero: int


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A Conv, Gemm or MatMul: what it multiplies by, as its own attributes mean it."""

    data: str
    """The activation that it reads, its first input."""
    weight: str
    """The float initializer that it reads."""
    axis: int
    """Of the output channels in the weight."""
    factor: np.float32
    """The factor of the weight before rounding: alpha of a Gemm, else 1."""
    scale: NDArray[np.float32]
    """Of the rounded weight, [channels]; its zero point is 0."""
    bias: NDArray[np.float32] | None
    """The bias of each channel, [channels], with beta applied. None: no bias."""
    rounds_bias: bool
    """Whether the bias becomes int32."""
    pairwise: bool
    """Whether its products are added in pairs, which must fit into 16 bits."""
    pixels: Pixels | None = None
    """What it reads instead of `data`, which is the float form of these pixels."""
    integers: NDArray[np.int8] | None = None
    """The rounded weight, where it is not rounded to the nearest."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which tensors and weights of a graph become 8-bit integers.

    A node that is not named here stays as it was.
    """

    kind: Literal["convolutional", "transformer"]
    reads: Mapping[str, tuple[str, ...]]
    """The nodes that read 8-bit tensors, in the order of the graph, and which."""
    tensors: Mapping[str, Grid]
    """The activations that are rounded, in the order in which they are made."""
    rounded: frozenset[str]
    """Those of them that all nodes read rounded. Others stay float for the nodes that are."""
    layers: Mapping[str, Layer]
    """By name of the node."""
    absorbed: tuple[str, ...]
    """Relu and Clip nodes that go, for the range of what they give does the same, and products
    with one number."""
    constants: Mapping[str, Grid] = field(default_factory=dict)
    """Float initializers that additions and products read in 8 bits."""
    factors: Mapping[str, np.float32] = field(default_factory=dict)
    """Tensors of `tensors` that are rounded before they are multiplied by this: the scale of their
    grid contains it."""
    shifts: Mapping[str, np.float32] = field(default_factory=dict)
    """HardSigmoid nodes that become an addition of this; `factors` has their slope."""
    left: Mapping[str, str]
    """Layers with weights that stay float: name of the node, reason."""

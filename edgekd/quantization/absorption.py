"""Operators that 8-bit grids make superfluous, or that a kernel of another operator computes.

A kernel clips to its grid, so a Relu or a Clip behind it goes. Integers mean whatever the scale of
their DequantizeLinear says, so a product with one positive number goes as well. And a
HardSigmoid(x) = clip(alpha x + beta, 0, 1) is alpha clip(x + beta / alpha, 0, 1 / alpha): an
addition of a constant, for which ONNX Runtime has a kernel, that its grid clips and scales.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgekd.quantization.node_selection import Choice, find_readers

_SUMS = {"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"}
_REQUANTIZES = _SUMS | {"Conv", "Gemm", "MatMul", "LeakyRelu"}
"""Write 8 bits on a grid of their own, and so clip as a Relu or Clip after them would."""


@dataclass(frozen=True)
class Absorbed:
    """What goes, by name of the node."""

    nodes: Mapping[str, str] = field(default_factory=dict)
    """Each node that goes, with the tensor that goes with it."""
    factors: Mapping[str, np.float32] = field(default_factory=dict)
    """Tensors whose grid is that of the kernel before, times this."""
    shifts: Mapping[str, np.float32] = field(default_factory=dict)
    """Each HardSigmoid that becomes an addition, with what it adds."""


def find_absorbed(model: ModelProto, choice: Choice) -> Absorbed:
    """Return what goes in a graph whose regions are in uint8 with a zero point."""
    chosen = set(choice.nodes)
    nodes = [node for node in model.graph.node if node.name in chosen]
    makers = {name: node for node in nodes for name in node.output}
    clipping = find_clipping(model, nodes)
    absorbed = {
        node: name
        for node, name in clipping.items()
        if name in makers and makers[name].op_type in _REQUANTIZES
    }
    shifts, factors = {}, {}
    numbers = _numbers(model)
    alone = _read_once(model)
    for node in nodes:
        output = node.output[0]
        if node.op_type == "HardSigmoid":
            alpha, beta = _slope(node)
            factors[output], shifts[node.name] = np.float32(alpha), np.float32(beta / alpha)
        elif (
            node.op_type == "Mul" and len(set(node.input)) == 2 and output not in clipping.values()
        ):
            data, number = sorted(node.input, key=lambda name: name in numbers)
            maker = makers.get(data)
            if numbers.get(number, 0.0) <= 0 or data not in alone or maker is None:
                continue
            if maker.op_type in _SUMS and maker.name not in absorbed:
                absorbed[node.name], factors[output] = data, np.float32(numbers[number])
    return Absorbed(absorbed, factors, shifts)


def find_clipping(model: ModelProto, nodes: Collection[NodeProto]) -> dict[str, str]:
    """Return each Relu and Clip of some nodes that is all that reads a tensor, with that tensor.

    What it would clip needs no place on a grid.
    """
    alone = _read_once(model)
    return {
        node.name: node.input[0]
        for node in nodes
        if node.op_type in ("Relu", "Clip") and node.input[0] in alone
    }


def _read_once(model: ModelProto) -> set[str]:
    outputs = {value.name for value in model.graph.output}
    return {name for name, users in find_readers(model).items() if len(users) == 1} - outputs


def _numbers(model: ModelProto) -> dict[str, float]:
    """Return the initializers that are one float32 number, of which no axis is known to matter."""
    return {
        tensor.name: float(numpy_helper.to_array(tensor).item())
        for tensor in model.graph.initializer
        if tensor.data_type == 1 and list(tensor.dims) in ([], [1])
    }


def _slope(node: NodeProto) -> tuple[float, float]:
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return float(given.get("alpha", 0.2)), float(given.get("beta", 0.5))

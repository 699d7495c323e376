"""Give depthwise layers of a Q/DQ graph a multiple of 16 channels, which the fused kernels need.

ONNX Runtime's 8-bit depthwise kernels take 16 channels at once and the rest one by one, so that 88
channels take twice as long as 96 (x86, 1.31). The channels that are added are zero in every weight
that makes them and in every weight that reads them: the graph computes the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from edgekd.exporters.onnx_files import messages

_MULTIPLE = 16
_MOST_WIDER = 1.25
_PASS = {
    *("QuantizeLinear", "DequantizeLinear", "Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid"),
    *("HardSwish", "Tanh", "Elu", "Softplus", "Identity", "AveragePool", "MaxPool"),
    *("GlobalAveragePool", "GlobalMaxPool"),
}
"""Compute each channel of their first input by itself."""


@dataclass
class _Channels:
    """Tensors with the same channels, and what has to grow with them."""

    count: int
    fixed: bool = False
    depthwise: list[NodeProto] = field(default_factory=list)
    constants: list[tuple[NodeProto, int]] = field(default_factory=list)
    """Each DequantizeLinear of a weight or bias, and the axis of the channels in it."""


def widen_depthwise(model: ModelProto) -> ModelProto:
    """Return the graph with wider depthwise layers, or the same one if none has to be.

    Args:
        model: as `insert` returns it; it is not changed.
    """
    result = ModelProto()
    result.CopyFrom(model)
    groups = _Groups(result)
    wider = [
        one
        for one in groups.found()
        if not one.fixed
        and one.depthwise
        and one.count < _wide(one.count) <= _MOST_WIDER * one.count
    ]
    if not wider:
        return model
    for one in wider:
        for node, axis in one.constants:
            groups.pad(node, axis, _wide(one.count) - one.count)
        for node in one.depthwise:
            next(a for a in node.attribute if a.name == "group").i = _wide(one.count)
    read = {name for node in messages(result, NodeProto) for name in node.input}
    read |= {value.name for value in result.graph.output}
    kept = [tensor for tensor in result.graph.initializer if tensor.name in read]
    del result.graph.initializer[:]
    result.graph.initializer.extend(kept)
    return result


def _wide(count: int) -> int:
    return -(-count // _MULTIPLE) * _MULTIPLE


class _Groups:
    """The groups of channels of a graph, by tensor."""

    def __init__(self, model: ModelProto) -> None:
        self._graph: GraphProto = model.graph
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._uses: dict[str, int] = {}
        for node in messages(model, NodeProto):
            for name in node.input:
                self._uses[name] = self._uses.get(name, 0) + 1
        self._names = {*self._constants, *self._makers, *self._uses}
        self._of: dict[str, _Channels] = {}
        for node in model.graph.node:
            self._follow(node)
        inner = {node.name for node in model.graph.node}
        for node in messages(model, NodeProto):
            if node.name not in inner:  # of a subgraph
                self._fix(*node.input)
        self._fix(*(value.name for value in model.graph.output))

    def found(self) -> list[_Channels]:
        """Return all groups."""
        return list({id(one): one for one in self._of.values()}.values())

    def pad(self, node: NodeProto, axis: int, by: int) -> None:
        """Add zeros to what a DequantizeLinear reads.

        Their scale is that of the last channel: ONNX Runtime fuses only where the scale of a bias
        is that of data times weight.
        """
        given = next((a.i for a in node.attribute if a.name == "axis"), 1)
        for i in range(3):
            array = numpy_helper.to_array(self._constants[node.input[i]])
            if i and (array.ndim == 0 or given != axis):
                continue
            sides = [(0, by if side == (axis if not i else 0) else 0) for side in range(array.ndim)]
            padded = np.pad(array, sides, mode="edge" if i == 1 else "constant")
            node.input[i] = self._add(padded, node.input[i])

    def _add(self, array: NDArray[Any], like: str) -> str:
        name = like + "_wide"
        while name in self._names:
            name += "_"
        self._names.add(name)
        tensor = numpy_helper.from_array(array, name)
        self._constants[name] = tensor
        self._graph.initializer.append(tensor)
        return name

    def _follow(self, node: NodeProto) -> None:
        data = self._of.get(node.input[0]) if node.input else None
        if node.op_type == "Conv" and self._conv(node, data):
            return
        if node.op_type in _PASS and data is not None and len(node.output) == 1:
            steps = [self._constants.get(name) for name in node.input[1:] if name]
            if all(step is not None and not step.dims for step in steps):
                self._of[node.output[0]] = data
                return
        if node.op_type in ("Add", "Mul") and self._join(node):
            return
        self._fix(*node.input)

    def _conv(self, node: NodeProto, data: _Channels | None) -> bool:
        """Tell whether a convolution was understood."""
        made = [self._makers.get(name) for name in node.input[1:] if name]
        if any(
            maker is None
            or maker.op_type != "DequantizeLinear"
            or self._uses[maker.output[0]] != 1
            or any(name not in self._constants for name in maker.input)
            for maker in made
        ):
            return False
        constants = [maker for maker in made if maker is not None]
        shape = list(self._constants[constants[0].input[0]].dims)
        group = next(
            (helper.get_attribute_value(a) for a in node.attribute if a.name == "group"), 1
        )
        slots = [(constant, 0) for constant in constants]
        if group == 1:
            if data is not None:
                data.constants.append((constants[0], 1))
            self._of[node.output[0]] = _Channels(shape[0], constants=slots)
            return True
        if data is None or not group == shape[0] == data.count or shape[1] != 1:
            return False
        data.constants += slots
        data.depthwise.append(node)
        self._of[node.output[0]] = data
        return True

    def _join(self, node: NodeProto) -> bool:
        """Merge the channels of two tensors, or follow one beside a single number."""
        numbers = [name for name in node.input if self._is_number(name)]
        groups = [self._of.get(name) for name in node.input if name not in numbers]
        known = [one for one in groups if one is not None]
        if len(known) < len(groups) or not known or len({one.count for one in known}) > 1:
            return False
        first, *rest = known
        for other in rest:
            if other is not first:
                first.fixed |= other.fixed
                first.depthwise += other.depthwise
                first.constants += other.constants
                self._of |= {name: first for name, one in self._of.items() if one is other}
        self._of[node.output[0]] = first
        return True

    def _is_number(self, name: str) -> bool:
        maker = self._makers.get(name)
        if maker is not None and maker.op_type == "DequantizeLinear":
            name = maker.input[0]
        return name in self._constants and not self._constants[name].dims

    def _fix(self, *names: str) -> None:
        for name in names:
            if name in self._of:
                self._of[name].fixed = True

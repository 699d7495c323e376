"""Write operators as equal ones for which runtimes have 8-bit kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekd.exporters.onnx_files import messages
from edgekd.quantization.layer_semantics import WEIGHTED

_LEAST, _MOST = 1e-30, 1e30
_FEWEST_AXES = 4


def write_with_kernels(model: ModelProto) -> None:
    """Change a graph in place: by one unit in the last place of a float32 at most.

    A division by one number becomes a product, a subtraction of a constant an addition, and a mean
    over the places of a picture a GlobalAveragePool.
    """
    taken = {name for node in messages(model, NodeProto) for name in [*node.input, *node.output]}
    taken |= {tensor.name for tensor in model.graph.initializer}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    pooled = _pooled_means(model)
    after: set[str] = set()  # tensors behind layers: what normalizes an input is known as it is
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        second = constants.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type in WEIGHTED or not after.isdisjoint(node.input):
            after.update(node.output)
        if node.op_type in ("Div", "Sub") and second is not None and node.input[0] in after:
            _replace_second(model, node, numpy_helper.to_array(second), taken)
        nodes += _pool(model, node, taken) if node.output[0] in pooled else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _replace_second(
    model: ModelProto, node: NodeProto, value: NDArray[Any], taken: set[str]
) -> None:
    if value.dtype != np.float32 or not value.size or not np.isfinite(value).all():
        return
    if node.op_type == "Sub":
        operator, changed = "Add", -value
    elif value.size == 1 and _LEAST < abs(value.item()) < _MOST:
        operator, changed = "Mul", (1 / value.astype(np.float64)).astype(np.float32)
    else:
        return
    name = _new(f"{node.output[0]}_constant", taken)
    model.graph.initializer.append(numpy_helper.from_array(changed, name))
    node.op_type, node.input[1] = operator, name


def _pooled_means(model: ModelProto) -> set[str]:
    """Return the outputs of means over all places of pictures, which no norm is made of."""
    readers: dict[str, list[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    squares = {
        node.output[0]
        for node in model.graph.node
        if node.op_type == "Pow" or (node.op_type == "Mul" and node.input[0] == node.input[1])
    }
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in [*model.graph.input, *model.graph.value_info]
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    found = set()
    for node in model.graph.node:
        rank = ranks.get(node.input[0], 0) if node.op_type == "ReduceMean" else 0
        axes = {axis % rank for axis in _axes(model, node)} if rank >= _FEWEST_AXES else set()
        centred = "Sub" in readers[node.input[0]] if rank else True
        if axes and axes == set(range(2, rank)) and not centred and node.input[0] not in squares:
            found.add(node.output[0])
    return found


def _axes(model: ModelProto, node: NodeProto) -> Iterator[int]:
    for attribute in node.attribute:
        if attribute.name == "axes":
            yield from attribute.ints
    for tensor in model.graph.initializer:
        if len(node.input) > 1 and tensor.name == node.input[1]:
            yield from numpy_helper.to_array(tensor).reshape(-1).tolist()


def _pool(model: ModelProto, node: NodeProto, taken: set[str]) -> list[NodeProto]:
    keeps = all(a.i for a in node.attribute if a.name == "keepdims")
    axes = sorted(_axes(model, node))
    del node.input[1:]
    del node.attribute[:]
    node.op_type = "GlobalAveragePool"
    if keeps:
        return [node]
    final = node.output[0]
    node.output[0] = _new(f"{final}_pooled", taken)
    name = _new(f"{final}_axes", taken)
    model.graph.initializer.append(numpy_helper.from_array(np.array(axes, np.int64), name))
    squeeze = helper.make_node("Squeeze", [node.output[0], name], [final])
    value = onnx.helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
    model.graph.value_info.append(value)
    return [node, squeeze]


def _new(wish: str, taken: set[str]) -> str:
    while wish in taken:
        wish += "_"
    taken.add(wish)
    return wish

"""Are two ONNX files the same graph, except for weights and names?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from edgekd.benchmarks.operators import QDQ
from edgekd.exporters.onnx_files import load_onnx, messages


def same_structure(a: Path, b: Path) -> bool:
    """Tell whether two files are equal but for weights and names, and so equally fast.

    Compared are operators in their order, attributes, operator sets, shapes and types of inputs,
    outputs and constants, and the values that steer: integers (shapes, axes, indices) and
    whether a zero point is the lowest value (a runtime drops a ReLU only then).

    Raises:
        ModelError: one of them cannot be read.
    """
    return bool(_structure(load_onnx(a)) == _structure(load_onnx(b)))


def _structure(model: ModelProto) -> Any:
    zero_points = {
        node.input[2]
        for node in messages(model, NodeProto)
        if node.op_type in QDQ and len(node.input) > 2
    }
    imports = sorted((entry.domain, entry.version) for entry in model.opset_import)
    functions = [_nodes(function.node, {}, zero_points) for function in model.functions]
    return imports, _graph(model.graph, {}, zero_points), functions


def _graph(graph: GraphProto, known: Mapping[str, Any], zero_points: set[str]) -> Any:
    names = dict(known)
    for tensor in graph.initializer:
        names[tensor.name] = _constant(tensor, zero_points)
    values = [value for value in graph.input if value.name not in names]
    for value in values:
        names[value.name] = ("input", len(names))
    nodes = _nodes(graph.node, names, zero_points)
    kinds = [v.type.SerializeToString(deterministic=True) for v in [*values, *graph.output]]
    return kinds, nodes, [names.get(value.name) for value in graph.output]


def _nodes(nodes: Iterable[NodeProto], names: dict[str, Any], zero_points: set[str]) -> Any:
    result = []
    for i, node in enumerate(nodes):
        inputs = [names.get(name, name) for name in node.input]
        names.update({name: ("made", i, k) for k, name in enumerate(node.output)})
        attributes = sorted((a.name, _attribute(a, names, zero_points)) for a in node.attribute)
        result.append((node.domain, node.op_type, inputs, len(node.output), repr(attributes)))
    return result


def _attribute(attribute: AttributeProto, names: dict[str, Any], zero_points: set[str]) -> str:
    if attribute.HasField("g"):
        return repr(_graph(attribute.g, names, zero_points))
    if attribute.HasField("t"):
        return repr(_constant(attribute.t, zero_points))
    copy = AttributeProto()
    copy.CopyFrom(attribute)
    copy.ClearField("doc_string")
    return repr(copy.SerializeToString(deterministic=True))


def _constant(tensor: TensorProto, zero_points: set[str]) -> tuple[Any, ...]:
    """Describe a constant without its values, but for the values that steer the computation."""
    kind = (tensor.data_type, tuple(tensor.dims))
    if tensor.name in zero_points:
        values = onnx.numpy_helper.to_array(tensor)
        lowest = -(2 ** (8 * values.dtype.itemsize - 1)) if values.dtype.kind == "i" else 0
        return (*kind, bool((values == lowest).all()))
    if tensor.data_type in (TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING):
        values = onnx.numpy_helper.to_array(tensor)
        return (*kind, hashlib.sha256(repr(values.tolist()).encode()).hexdigest())
    return kind

"""Shapes of an ONNX graph: give symbolic axes a length, and infer shapes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import onnx.version_converter
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto

from edgekd.errors import ModelError
from edgekd.exporters.onnx_files import messages
from edgekd.exporters.ort_session import Level, optimized

_LARGE_BYTES = 2**16
"""No constant that a shape depends on is so large."""


def opset_of(model: ModelProto) -> int:
    """Return the version of the standard operator set that `model` imports.

    Raises:
        ModelError: it imports none.
    """
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            return int(entry.version)
    raise ModelError("the ONNX file imports no standard operator set; export it again")


def lower_opset(model: ModelProto, most: int) -> ModelProto:
    """Return it at operator set `most` or below; as it is where it cannot be lowered."""
    if opset_of(model) <= most:
        return model
    try:
        return onnx.version_converter.convert_version(model, most)
    except (RuntimeError, ValueError, onnx.checker.ValidationError):
        return model


def infer_shapes(model: ModelProto) -> ModelProto:
    """Return a copy in which every shape that follows from the inputs is written down.

    Raises:
        ModelError: the graph contradicts itself.
    """
    large = {t.name: t for t in model.graph.initializer if t.ByteSize() > _LARGE_BYTES}
    try:
        found = onnx.shape_inference.infer_shapes(_without_data(model, large), data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(f"the shapes of this ONNX graph do not fit together: {error}") from error
    for tensor in found.graph.initializer:
        if tensor.name in large:
            tensor.CopyFrom(large[tensor.name])
    return found


def _without_data(model: ModelProto, large: Mapping[str, TensorProto]) -> ModelProto:
    """Return a copy in which large constants have a shape only: onnx copies what it is given."""
    light, graph = ModelProto(), GraphProto()
    for target, source, left_out in (
        (light, model, "graph"),
        (graph, model.graph, "initializer"),
    ):
        for field, value in source.ListFields():
            if field.name == left_out:
                continue
            if hasattr(value, "CopyFrom"):
                getattr(target, field.name).CopyFrom(value)
            elif hasattr(value, "MergeFrom"):
                getattr(target, field.name).MergeFrom(value)
            else:
                setattr(target, field.name, value)
    for tensor in model.graph.initializer:
        own = graph.initializer.add()
        if tensor.name in large:
            own.name, own.data_type = tensor.name, tensor.data_type
            own.dims.extend(tensor.dims)
        else:
            own.CopyFrom(tensor)
    light.graph.CopyFrom(graph)
    return light


def batch_symbol(model: ModelProto) -> str:
    """Return the symbolic name of the batch: the first axis of the first input that has one."""
    for shape in _input_shapes(model):
        if shape.dim and shape.dim[0].dim_param:
            return str(shape.dim[0].dim_param)
    return ""


def fixed_shape(
    model: ModelProto, batch: int = 1, *, lengths: Mapping[str, int] | None = None
) -> ModelProto:
    """Return a copy with a fixed batch, for runtimes of phones that refuse symbolic axes.

    Args:
        model: with a symbolic (or unnamed) first axis; others are returned with shapes inferred.
        batch: the length it gets.
        lengths: of other symbolic axes, by name; those that are not given stay symbolic.

    Raises:
        ModelError: the graph does not fit together at these lengths.
    """
    result = ModelProto()
    result.CopyFrom(model)
    symbol = batch_symbol(model)
    known = {**(lengths or {}), **({symbol: batch} if symbol else {})}
    for shape in _input_shapes(result):
        for axis, dim in enumerate(shape.dim):
            if dim.dim_param in known:
                dim.dim_value = known[dim.dim_param]
            elif axis == 0 and not dim.WhichOneof("value"):
                dim.dim_value = batch
    del result.graph.value_info[:]
    for value in result.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in known:
                dim.dim_value = known[dim.dim_param]
            elif dim.dim_param:  # an expression such as 2*batch: inference fills it again
                dim.Clear()
    return infer_shapes(result)


def fold(model: ModelProto, name: str) -> ModelProto:
    """Return an equal model with constants and batch norms folded, as ONNX Runtime folds them.

    Only its basic level is used: that knows no hardware and writes standard operators.

    Args:
        model: untrusted; it is not changed.
        name: of the file, for messages.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        source = Path(folder, "source.onnx")  # in memory it would be one more copy of all weights
        source.write_bytes(model.SerializeToString(deterministic=True))
        folded = optimized(source, level=Level.ORT_ENABLE_BASIC, name=name)
    domains = {node.domain for node in messages(model, NodeProto)}
    if any(node.domain not in domains for node in messages(folded, NodeProto)):
        return model  # an operator that only ONNX Runtime knows has no place in the file
    used = {node.domain for node in messages(folded, NodeProto)} | {""}
    imports = [entry for entry in folded.opset_import if entry.domain in used]
    del folded.opset_import[:]
    folded.opset_import.extend(imports)
    return folded


def _input_shapes(model: ModelProto) -> Iterator[TensorShapeProto]:
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in constants:
            yield value.type.tensor_type.shape

"""Prepare a graph for quantization: fold it, name and type its values, raise its opset."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
import onnx.version_converter
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper
from onnx_ir.passes import common

from edgekd.benchmarks.operators import is_quantized
from edgekd.errors import ModelError, one_line
from edgekd.exporters.input_scaling import fold_input_scaling
from edgekd.exporters.onnx_files import apply_passes, messages
from edgekd.exporters.shapes import fold, infer_shapes, opset_of
from edgekd.quantization.equal_operators import write_with_kernels
from edgekd.quantization.norms_as_convolutions import write_norms_as_convolutions

MIN_OPSET = 13
"""From here on DequantizeLinear has an axis, which scales per channel need."""


def refuse_quantized(operators: Iterable[str], name: str) -> None:
    """Refuse a file with operators of INT8.

    Raises:
        ModelError: it is already quantized; `name` is the file in the message.
    """
    if any(map(is_quantized, operators)):
        raise ModelError(
            f"{name} is already quantized (it contains Q/DQ or integer layers); "
            "start from the float file"
        )


def prepare(model: ModelProto, name: str, *, norms_as_convolutions: bool = False) -> ModelProto:
    """Return an equal model whose constants and batch norms are folded and whose tensors are typed.

    Args:
        model: untrusted; it is not changed.
        name: of the file, for messages.
        norms_as_convolutions: whether batch norms in front of convolutions become convolutions,
            for runtimes that do not compute them together with their neighbours.

    Raises:
        ModelError: it is already quantized, cannot be raised to operator set 13, or ONNX Runtime
            cannot load it.
    """
    refuse_quantized((node.op_type for node in messages(model, NodeProto)), name)
    # The parameter is bound anew, so that no copy of all weights stays longer than it is needed.
    if opset_of(model) < MIN_OPSET:
        model = _raise_opset(_copied(model), name)
    constants = {tensor.name for tensor in model.graph.initializer}
    # Before IR 4 weights had to be listed as inputs; as inputs they would not be constants.
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) < len(model.graph.input):
        model = _copied(model)
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    half = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    if not any(tensor.data_type in half for tensor in messages(model, onnx.TensorProto)):
        model = fold(model, name)  # half-precision graphs come back with casts everywhere
    model = infer_shapes(fold_input_scaling(model))
    if norms_as_convolutions and write_norms_as_convolutions(
        model
    ):  # a scale behind one is folded into it
        model = infer_shapes(fold(model, name))
    _densify(model)
    _write_sums_as_additions(model)
    _write_pads_out(model)
    write_with_kernels(model)
    count = -1
    while count != len(model.graph.node):  # what only a removed subgraph read goes the next time
        count = len(model.graph.node)
        model = apply_passes(model, common.RemoveUnusedNodesPass())
    _name_nodes(model)
    return model


def _copied(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def _name_nodes(model: ModelProto) -> None:
    """Give every node a name of its own: foreign nodes may have none, or share one."""
    taken = {node.name for node in messages(model, NodeProto)}
    seen: set[str] = set()
    for i, node in enumerate(messages(model, NodeProto)):
        if not node.name or node.name in seen:
            name = f"{node.op_type}_{i}_"
            while name in taken:
                name += "_"
            node.name = name
            taken.add(name)
        seen.add(node.name)


def _write_sums_as_additions(model: ModelProto) -> None:
    """Replace each Sum of several tensors by Add nodes: runtimes have 8-bit kernels for these."""
    taken = {name for node in messages(model, NodeProto) for name in [*node.input, *node.output]}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "Sum" or node.domain or len(node.input) < 2:
            nodes.append(node)
            continue
        total, *others = node.input
        for i, other in enumerate(others):
            result = node.output[0]
            if i < len(others) - 1:
                result = f"{node.output[0]}_{i}"
                while result in taken:
                    result += "_"
                taken.add(result)
            nodes.append(onnx.helper.make_node("Add", [total, other], [result], node.name))
            total = result
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _write_pads_out(model: ModelProto) -> None:
    """Give every Pad the pads of all axes.

    With a list of axes ONNX Runtime 1.31 fails where it lays data between 8-bit layers out anew.
    """
    constants = {t.name: t for t in model.graph.initializer}
    values = [*model.graph.input, *model.graph.value_info]
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in values}
    taken = {name for node in messages(model, NodeProto) for name in [*node.input, *node.output]}
    for node in model.graph.node:
        if node.op_type != "Pad" or len(node.input) < 4 or node.input[0] not in ranks:
            continue
        if node.input[1] not in constants or node.input[3] not in constants:
            continue
        given, chosen = (numpy_helper.to_array(constants[node.input[i]]) for i in (1, 3))
        full = np.zeros((2, ranks[node.input[0]]), np.int64)
        full[:, chosen] = given.reshape(2, -1)
        name = f"{node.output[0]}_pads"
        while name in taken:
            name += "_"
        taken.add(name)
        model.graph.initializer.append(numpy_helper.from_array(full.reshape(-1), name))
        node.input[1] = name
        del node.input[3:]


def _densify(model: ModelProto) -> None:
    """Write sparse initializers out: onnx-ir would lose them."""
    for graph in messages(model, GraphProto):
        for sparse in graph.sparse_initializer:
            values, index = (numpy_helper.to_array(t) for t in (sparse.values, sparse.indices))
            dense = np.zeros(list(sparse.dims), values.dtype)
            dense[tuple(index.T) if index.ndim == 2 else np.unravel_index(index, dense.shape)] = (
                values
            )
            graph.initializer.append(numpy_helper.from_array(dense, sparse.values.name))
        del graph.sparse_initializer[:]


def _raise_opset(model: ModelProto, name: str) -> ModelProto:
    for node in messages(model, NodeProto):
        modes = {a.name: a.s for a in node.attribute}
        if node.op_type == "Pad" and modes.get("mode", b"constant") != b"constant":
            # The converter of onnx 1.23 leaves it in, and then the file does not load.
            kept = [a for a in node.attribute if a.name != "value"]
            del node.attribute[:]
            node.attribute.extend(kept)
    try:
        raised = onnx.version_converter.convert_version(model, MIN_OPSET)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        reason = one_line(error)[:300]
        raise ModelError(
            f"{name} has opset {opset_of(model)}, and INT8 per channel needs {MIN_OPSET}; "
            f"it cannot be raised ({reason}): export it again with opset 18 or more"
        ) from error
    raised.ir_version = max(raised.ir_version, 7)  # what operator set 13 came with
    return raised

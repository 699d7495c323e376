"""Select the nodes to quantize: all that fuses in a CNN, constant products in a transformer.

Static INT8 on every operator ruins transformers: the residual stream has outliers that stretch
the range of each tensor on it (sentence embeddings of MiniLM keep a cosine of 0.35 to their float
form, 0.95 with only its constant products). So a graph with layer normalization or attention
gets only MatMul and Gemm with constant weights, and its residual stream stays float. Convolutions
in it are quantized as in a CNN, unless they write to that stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto

from edgekd.benchmarks.operators import SAME_VALUES
from edgekd.exporters.onnx_files import messages
from edgekd.quantization.layer_semantics import WEIGHTED, Semantics, read_layer
from edgekd.quantization.small_values import find_small_values

_CHAIN = {  # operators with 8-bit kernels; one input carries data
    *("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid"),
    *("MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Resize", "Split", "Slice", "Pad"),
    *("Gather", "DepthToSpace", "SpaceToDepth"),
}
_MOVES = SAME_VALUES | {"MaxPool", "Slice", "Split", "Gather", "Resize", "Expand", "Tile", "Pad"}
_JOIN = {"Add", "Mul", "Concat"}  # all inputs carry data
_MIXES = {"Add", "Mul"}  # where one of them may be constant
_ABSORBED = {"Relu", "Clip"}  # vanish into the layer before them
_NORMALIZING = {
    *("LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization"),
    *("RMSNormalization", "Attention", "MultiHeadAttention", "EmbedLayerNormalization"),
}
_NORMS = _NORMALIZING | {"ReduceMean", "Pow"}  # these two begin one that is written out
_SUMS = SAME_VALUES | {"Add", "Sub", "Concat", "Slice", "Split", "Cast", "Dropout"}
_BARRIERS = frozenset(_NORMS | {"Conv", "MatMul", "Gemm", "Softmax"})
_BETWEEN_PRODUCTS = SAME_VALUES | {"Cast", "Dropout"}  # of scores and values


LARGEST = 1e30
"""No activation is that large: it is a placeholder for infinity."""


@dataclass(frozen=True)
class Choice:
    """The nodes to quantize, and the reasons for the others."""

    kind: Literal["convolutional", "transformer"]
    nodes: tuple[str, ...]
    """Names of all nodes to quantize, in the order of the graph."""
    layers: Mapping[str, Semantics]
    """Those of them that have weights, and what each computes."""
    left: Mapping[str, str]
    """Layers with weights that stay float: name of the node, reason."""


def choose(
    model: ModelProto,
    *,
    barred: Mapping[str, str] | None = None,
    wide: Mapping[str, str] | None = None,
) -> Choice:
    """Decide from the graph which nodes are quantized.

    In a CNN an operator without weights is chosen where it lies between two chosen layers, so
    that data stays in 8 bits there; at the ends (pixels, boxes beside scores) it stays float, for
    one range cannot serve both. A ReLU or Clip is chosen after every chosen layer.

    Args:
        model: every node has its own name.
        barred: layers that must stay float: name of the node, reason.
        wide: tensors that no 8-bit grid serves: name, reason. What touches one stays float.
    """
    wide = wide or {}
    layers: dict[str, Semantics] = {}
    left = {
        node.name: "ONNX Runtime has no INT8 kernel for ConvTranspose"
        for node in model.graph.node
        if node.op_type == "ConvTranspose"
    }
    constants, readers = {t.name: t for t in model.graph.initializer}, find_readers(model)
    captured = _captured(model)
    reasons = {**find_small_values(model), **(barred or {})}
    for node in model.graph.node:
        if node.op_type not in WEIGHTED or node.domain:
            continue
        found: Semantics | str = reasons.get(node.name, "") or next(
            (wide[name] for name in [node.input[0], node.output[0]] if name in wide), ""
        )
        if node.output[0] in captured:
            found = "a subgraph reads what it gives"
        found = found or read_layer(node, constants, readers)
        if isinstance(found, str):
            left[node.name] = found
        else:
            layers[node.name] = found
    if not is_transformer(model):
        between = _between(model, set(layers), wide=frozenset(wide), captured=captured)
        names = [n.name for n in model.graph.node if n.name in between or n.name in layers]
        return Choice("convolutional", tuple(names), layers, left)
    stream = _writes_to_stream(model, readers)
    left |= {name: "it writes to the residual stream" for name in layers if name in stream}
    layers = {name: layer for name, layer in layers.items() if name not in stream}
    convolutions = {n.name for n in model.graph.node if n.op_type == "Conv" and n.name in layers}
    between = _between(
        model, convolutions, wide=frozenset(wide), captured=captured, barriers=_BARRIERS
    )
    names = [n.name for n in model.graph.node if n.name in between or n.name in layers]
    return Choice("transformer", tuple(names), layers, left)


def find_readers(model: ModelProto) -> dict[str, list[NodeProto]]:
    """Return every node that reads a tensor, in subgraphs as well, by name of the tensor."""
    readers: dict[str, list[NodeProto]] = {}
    for node in messages(model.graph, NodeProto):
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node)
    return readers


def is_transformer(model: ModelProto) -> bool:
    """Tell whether a graph normalizes by layer or attends, fused or written out."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.op_type in _NORMALIZING:
            return True
        if node.op_type == "Sqrt" and _written_out_norm(node, makers, model):
            return True
        if node.op_type == "MatMul" and any(_from_softmax(name, makers) for name in node.input):
            return True
    return False


def _from_softmax(name: str, makers: Mapping[str, NodeProto]) -> bool:
    node = makers.get(name)
    while node is not None and node.op_type in _BETWEEN_PRODUCTS:
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "Softmax"


def _written_out_norm(node: NodeProto, makers: Mapping[str, NodeProto], model: ModelProto) -> bool:
    """Recognize sqrt(mean(square) + epsilon) over the last axis, as old exporters write it."""
    add = makers.get(node.input[0])
    if add is None or add.op_type != "Add":
        return False
    means = [makers[name] for name in add.input if name in makers]
    mean = next((m for m in means if m.op_type == "ReduceMean"), None)
    square = makers.get(mean.input[0]) if mean is not None else None
    if mean is None or square is None or square.op_type not in ("Pow", "Mul"):
        return False
    axes = [list(a.ints) for a in mean.attribute if a.name == "axes"]
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    if len(mean.input) > 1 and mean.input[1] in constants:
        axes = [onnx.numpy_helper.to_array(constants[mean.input[1]]).tolist()]
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in model.graph.value_info}
    last = ranks.get(mean.input[0], 0) - 1
    return axes in ([[-1]], [[last]])


def _writes_to_stream(model: ModelProto, readers: Mapping[str, Sequence[NodeProto]]) -> set[str]:
    """Return the convolutions whose sums are normalized by layer: patches, mixers, outputs."""
    found: set[str] = set()
    for convolution in (node for node in model.graph.node if node.op_type == "Conv"):
        todo, seen = list(convolution.output), set(convolution.output)
        while todo:
            users = readers.get(todo.pop(), ())
            centred = any(user.op_type == "Sub" for user in users)  # else a mean is a pool
            for reader in users:
                if reader.op_type in _NORMS and (centred or reader.op_type != "ReduceMean"):
                    found.add(convolution.name)
                elif reader.op_type in _SUMS:
                    todo += [name for name in reader.output if name not in seen]
                    seen.update(reader.output)
    return found


def _captured(model: ModelProto) -> frozenset[str]:
    """Return the tensors that subgraphs read of the graph around them, and what these are made of.

    ONNX Runtime 1.31 aborts the whole process where it moves a DequantizeLinear past a Reshape, a
    MaxPool or the like towards a node that reads from within a subgraph.
    """
    outer = {node.name for node in model.graph.node}
    inner = (node for node in messages(model.graph, NodeProto) if node.name not in outer)
    makers = {name: node for node in model.graph.node for name in node.output}
    todo = [name for node in inner for name in node.input if name in makers]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        found.add(name)
        if makers[name].op_type in _MOVES and makers[name].input[0] in makers:
            todo.append(makers[name].input[0])
    return frozenset(found)


def _between(
    model: ModelProto,
    layers: set[str],
    *,
    wide: frozenset[str],
    captured: frozenset[str],
    barriers: frozenset[str] = frozenset(),
) -> set[str]:
    """Return operators without weights whose data comes from and goes to chosen layers.

    Args:
        model: every node has its own name.
        layers: the chosen ones.
        wide: tensors that no grid serves.
        captured: tensors that subgraphs read.
        barriers: operators that data from or to a layer does not pass.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    usable, gelus = _usable_constants(model), _parts_of_gelu(model)
    after: set[str] = set()  # tensors that descend from a chosen layer, through floats only
    inside: set[str] = set()
    floats = _floats(model)
    for node in model.graph.node:
        data = [] if node.op_type in WEIGHTED else list_data_inputs(node)
        if node.name in layers:
            after.update(node.output)
        elif node.op_type not in barriers and any(name in after for name in node.input):
            after.update(name for name in node.output if name in floats)
            if node.op_type in _MIXES:
                data = [name for name in data if name not in usable]
            fits = data and all(name in after and name not in constants for name in data)
            fits = fits and _has_kernel(node) and wide.isdisjoint([*data, *node.output])
            fits = fits and captured.isdisjoint(node.output) and node.name not in gelus
            inside |= {node.name} if fits else set()
    before: set[str] = set()  # tensors from which a chosen layer descends
    ends: set[str] = set()
    for node in reversed(model.graph.node):
        passes = node.op_type not in barriers and any(name in before for name in node.output)
        if node.name in layers or passes:
            before.update(node.input)
            ends.add(node.name)
    makers = {name: node for node in model.graph.node for name in node.output}
    absorbed = {
        node.name
        for node in model.graph.node
        if node.op_type in _ABSORBED and _absorbable(node, model)
        if (maker := makers.get(node.input[0])) is not None and maker.name in layers
        if captured.isdisjoint(node.output) and wide.isdisjoint(node.output)
    }
    kept = {n.name for n in model.graph.node if n.op_type != "Clip" or _absorbable(n, model)}
    return ((inside & ends) | absorbed) & kept


def list_data_inputs(node: NodeProto) -> list[str]:
    """Return the inputs of a chosen node that are data: the others say sizes, axes, bounds."""
    if node.op_type in _JOIN:
        return list(node.input)
    return [node.input[0]] if node.op_type in {*_CHAIN, *WEIGHTED} and not node.domain else []


def _parts_of_gelu(model: ModelProto) -> set[str]:
    """Return the products and sums around each Erf: with it they are one float kernel."""
    makers = {name: node for node in model.graph.node for name in node.output}
    readers = find_readers(model)
    found = set()
    for node in model.graph.node:
        if node.op_type == "Erf":
            parts = [makers[name] for name in node.input if name in makers]
            behind = [node]
            for _ in range(3):  # the sum with one, the product with the data, and with a half
                behind = [user for part in behind for user in readers.get(part.output[0], ())]
                behind = [user for user in behind if user.op_type in _MIXES]
                parts += behind
            found |= {part.name for part in parts if part.op_type in _MIXES}
    return found


def _usable_constants(model: ModelProto) -> set[str]:
    """Return the initializers that an 8-bit addition or product may read."""
    found = set()
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and 0 not in tensor.dims:
            values = onnx.numpy_helper.to_array(tensor)
            if np.isfinite(values).all() and np.abs(values).max() < LARGEST:
                found.add(tensor.name)
    return found


def _has_kernel(node: NodeProto) -> bool:
    """Tell whether the operator has 8-bit kernels in this mode: only a nearest Resize has."""
    if node.op_type == "HardSigmoid":
        return all(a.f > 0 for a in node.attribute if a.name == "alpha")
    modes = {a.name: a.s for a in node.attribute if a.type == onnx.AttributeProto.STRING}
    return node.op_type != "Resize" or modes.get("mode", b"nearest") == b"nearest"


def _absorbable(node: NodeProto, model: ModelProto) -> bool:
    """Return whether the 8-bit range replaces it: a Clip needs constant bounds that include 0."""
    if node.op_type != "Clip":
        return True
    values = {t.name: t for t in model.graph.initializer if not t.dims or list(t.dims) == [1]}
    bounds = [name for name in node.input[1:] if name]
    if any(name not in values for name in bounds):
        return False
    low, high = (
        onnx.numpy_helper.to_array(values[name]).item() if name else default
        for name, default in zip([*node.input[1:], "", ""], (-1.0, 1.0), strict=False)
    )
    return bool(low <= 0 <= high)


def _floats(model: ModelProto) -> set[str]:
    values: Iterable[onnx.ValueInfoProto] = [*model.graph.value_info, *model.graph.output]
    return {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}

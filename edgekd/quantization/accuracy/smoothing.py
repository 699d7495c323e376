"""SmoothQuant: move the outliers of an activation into the weights that read it.

A few channels of a transformer's activations are many times larger than the others, and one grid
has to serve all. With x / s and s * w for each channel the product is the same, and s = peak(x)^a /
peak(w)^(1 - a) shares the range between both (Xiao et al. 2022, arXiv 2211.10438, equation 4). The
division goes into gamma and beta of a layer normalization where nobody else reads it; elsewhere, as
on the residual stream of BERT or behind a GELU, it is a Mul of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekd.quantization.accuracy.factors import ALPHA, find_factors, scale
from edgekd.quantization.names import NewNames
from edgekd.quantization.node_selection import find_readers

_SPREAD = 2.0
"""Of the factors: below it there are no outliers, and nothing is gained."""


def find_products(model: ModelProto, layers: Collection[str]) -> dict[str, list[NodeProto]]:
    """Return the layers that read an activation by its name: products with own weights."""
    readers = find_readers(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        is_product = node.op_type == "MatMul" or (
            node.op_type == "Gemm" and not any(a.name == "transA" and a.i for a in node.attribute)
        )
        if node.name not in layers or not is_product or node.input[1] not in constants:
            continue
        if len(readers[node.input[1]]) == 1:
            found.setdefault(node.input[0], []).append(node)
    return found


def smooth(
    model: ModelProto,
    layers: Collection[str],
    peaks: Mapping[str, NDArray[np.float32]],
    *,
    alpha: float = ALPHA,
) -> ModelProto | None:
    """Return an equal graph with smoother activations; None: no activation has outliers.

    Args:
        model: every node has its own name; it is not changed.
        layers: names of the nodes that are to be quantized.
        peaks: the largest absolute value of each channel, by tensor of `find_products`.
        alpha: see `find_factors`.
    """
    equal = ModelProto()
    equal.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in equal.graph.initializer}
    names, count = NewNames(model), 0
    for tensor, nodes in find_products(equal, layers).items():
        if tensor not in peaks:
            continue
        weights = np.max([_by_input(node, constants) for node in nodes], axis=0)
        factor = find_factors(peaks[tensor], weights, alpha=alpha)
        if factor.max() < _SPREAD * factor.min():
            continue
        if not _fold(equal, tensor, nodes, 1 / factor):
            _multiply(equal, tensor, nodes, (1 / factor).astype(np.float32), names)
        for node in nodes:
            _scale_inputs(node, constants, factor)
        count += 1
    return equal if count else None


def _input_axis(node: NodeProto) -> int:
    return int(any(a.name == "transB" and a.i for a in node.attribute))


def _by_input(node: NodeProto, constants: Mapping[str, TensorProto]) -> NDArray[np.float32]:
    weight = np.abs(numpy_helper.to_array(constants[node.input[1]]))
    result: NDArray[np.float32] = weight.max(axis=1 - _input_axis(node))
    return result


def _scale_inputs(
    node: NodeProto, constants: Mapping[str, TensorProto], factor: NDArray[np.float64]
) -> None:
    shape = [1, -1] if _input_axis(node) else [-1, 1]
    scale(constants[node.input[1]], factor.reshape(shape))


def _fold(
    model: ModelProto, tensor: str, nodes: Sequence[NodeProto], factor: NDArray[np.float64]
) -> bool:
    """Multiply gamma and beta of the layer normalization that gives a tensor, if that is all."""
    readers = find_readers(model)
    constants = {one.name: one for one in model.graph.initializer}
    maker = next((node for node in model.graph.node if tensor in node.output), None)
    outputs = {value.name for value in model.graph.output}
    own = {node.name for node in nodes}
    if maker is None or maker.op_type != "LayerNormalization" or tensor in outputs:
        return False
    if any(reader.name not in own for reader in readers[tensor]):
        return False
    vectors = [name for name in maker.input[1:3] if name]
    if any(
        name not in constants
        or len(readers[name]) != 1
        or list(constants[name].dims) != [len(factor)]
        for name in vectors
    ):
        return False
    for name in vectors:
        scale(constants[name], factor)
    return True


def _multiply(
    model: ModelProto,
    tensor: str,
    nodes: Sequence[NodeProto],
    factor: NDArray[np.float32],
    names: NewNames,
) -> None:
    """Put a Mul between a tensor and the layers."""
    constant = numpy_helper.from_array(factor, names.new("smooth_factor"))
    smoothed = names.new("smoothed")
    made = helper.make_node("Mul", [tensor, constant.name], [smoothed], names.new("smooth"))
    model.graph.initializer.append(constant)
    for node in nodes:
        node.input[0] = smoothed
    own = {node.name for node in nodes}
    place = next(i for i, node in enumerate(model.graph.node) if node.name in own)
    model.graph.node.insert(place, made)

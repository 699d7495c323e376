"""Cross-layer equalization: let the channels between two layers have like ranges.

One grid serves all channels of an activation, so that a channel with small values gets few of its
steps. Where only homogeneous operators lie between two layers, channel i may be divided by s[i] in
the first layer and multiplied by it in the second: f(x / s) * s = f(x) (Nagel et al. 2019, arXiv
1906.04721, section 4.1). The paper takes s from the weights of both layers. These have a scale for
each channel here, so that it is the activation that gains, and s is from its values.

A Clip from 0 to c between them is homogeneous only where nothing reaches c. That is proven for a
channel whose weights cannot reach it from inputs that are clipped too; others keep s = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekd.quantization.accuracy.factors import ALPHA, find_factors, scale
from edgekd.quantization.layer_semantics import read_layer
from edgekd.quantization.node_selection import find_readers

_BY_CHANNEL = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Relu", "LeakyRelu"}
"""f(a x) = a f(x) for a > 0, channel by channel."""


@dataclass(frozen=True)
class Pair:
    """Two layers with what lies between them."""

    first: NodeProto
    second: NodeProto
    between: tuple[NodeProto, ...]

    @property
    def tensor(self) -> str:
        """What the second layer reads, with channels on axis 1."""
        return str(self.second.input[0])


def find_pairs(model: ModelProto) -> list[Pair]:
    """Return the pairs of layers of which the second alone reads what the first gives."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = find_readers(model)
    outputs = {value.name for value in model.graph.output}
    inside = {node.name for node in model.graph.node}
    found: list[Pair] = []
    for first in model.graph.node:
        if first.op_type not in ("Conv", "Gemm") or first.domain:
            continue
        if isinstance(read_layer(first, constants, readers), str):
            continue
        between: list[NodeProto] = []
        name = first.output[0]
        while name not in outputs and len(readers.get(name, ())) == 1:
            node = readers[name][0]
            if node.name not in inside or node.domain or node.input[0] != name:
                break
            if node.op_type in ("Conv", "Gemm"):
                if _reads_channels(first, node, constants, readers):
                    found.append(Pair(first, node, tuple(between)))
                break
            if not _keeps_channels(node, constants):
                break
            between.append(node)
            name = node.output[0]
    return found


def _reads_channels(
    first: NodeProto,
    second: NodeProto,
    constants: Mapping[str, TensorProto],
    readers: Mapping[str, Sequence[NodeProto]],
) -> bool:
    """Tell whether the inputs of a layer are the channels of the one before, and it is its own."""
    found = read_layer(second, constants, readers)
    names = [first.input[1], second.input[1], *first.input[2:3]]
    if isinstance(found, str) or any(len(readers[name]) != 1 for name in names if name):
        return False
    if first.op_type == "Gemm" and second.op_type == "Conv":
        return False
    given = constants[first.input[1]].dims[_output_axis(first)]
    return bool(_inputs(second, constants[second.input[1]]) == given)


def _output_axis(node: NodeProto) -> int:
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return 0 if node.op_type == "Conv" or transposed else 1


def _groups(node: NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "group"), 1)


def _inputs(node: NodeProto, weight: TensorProto) -> int:
    if node.op_type == "Conv":
        return int(weight.dims[1] * _groups(node))
    if any(a.name == "transA" and a.i for a in node.attribute):
        return -1
    return int(weight.dims[1 - _output_axis(node)])


def _keeps_channels(node: NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    if node.op_type == "Pad":
        mode = next((a.s for a in node.attribute if a.name == "mode"), b"constant")
        value = node.input[2] if len(node.input) > 2 else ""
        is_zero = not value or (
            value in constants and not numpy_helper.to_array(constants[value]).any()
        )
        if node.input[1] not in constants or len(node.input) > 3:
            return False
        pads = numpy_helper.to_array(constants[node.input[1]]).reshape(2, -1)
        return bool(pads.shape[1] > 1 and not pads[:, 1].any() and (mode != b"constant" or is_zero))
    if node.op_type == "Clip":
        return _clip_top(node, constants) is not None
    if node.op_type == "Flatten":
        return all(a.i == 1 for a in node.attribute if a.name == "axis")
    return node.op_type in _BY_CHANNEL and len([name for name in node.output if name]) == 1


def _clip_top(node: NodeProto, constants: Mapping[str, TensorProto]) -> float | None:
    """Return where a Clip from 0 ends; infinite without an end, None if it is not known."""
    bounds = [*node.input[1:], "", ""][:2]
    if any(name and name not in constants for name in bounds) or not bounds[0]:
        return None
    low, high = (numpy_helper.to_array(constants[n]).item() if n else np.inf for n in bounds)
    return float(high) if low == 0 and high > 0 else None


def find_least_factors(model: ModelProto, pair: Pair) -> NDArray[np.float64]:
    """Return the least s of each channel with which no Clip between two layers acts on it.

    0 where there is none. NaN: it may act now, and s has to be 1.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    tops = [_clip_top(node, constants) for node in pair.between if node.op_type == "Clip"]
    top = min((one for one in tops if one is not None), default=np.inf)
    weight = numpy_helper.to_array(constants[pair.first.input[1]]).astype(np.float64)
    axis = _output_axis(pair.first)
    if np.isinf(top):
        return np.zeros(weight.shape[axis])
    rest = tuple(i for i in range(weight.ndim) if i != axis)
    reach = np.maximum(weight, 0).sum(axis=rest) * _top_of(model, pair.first.input[0], constants)
    if len(pair.first.input) > 2 and pair.first.input[2]:
        reach = reach + numpy_helper.to_array(constants[pair.first.input[2]]).reshape(-1)
    reach = np.maximum(reach, 0)
    result: NDArray[np.float64] = np.where(reach <= top, reach / top, np.nan)
    return result


def _top_of(model: ModelProto, name: str, constants: Mapping[str, TensorProto]) -> float:
    """Return the greatest value that a tensor of values from 0 can have; infinite: not known."""
    makers = {output: node for node in model.graph.node for output in node.output}
    node = makers.get(name)
    while node is not None and node.op_type != "Clip":
        if node.op_type not in _BY_CHANNEL | {"Pad", "Flatten"} or not _keeps_channels(
            node, constants
        ):
            return float("inf")
        node = makers.get(node.input[0])
    top = None if node is None else _clip_top(node, constants)
    return float("inf") if top is None else top


def equalize(
    model: ModelProto, peaks: Mapping[str, NDArray[np.float32]], *, alpha: float = ALPHA
) -> ModelProto | None:
    """Return an equal graph whose channels between layers have like ranges; None: no such layers.

    Args:
        model: every node has its own name; it is not changed.
        peaks: the largest absolute value of each channel of the tensors of `find_pairs`.
        alpha: see `find_factors`.
    """
    equal = ModelProto()
    equal.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in equal.graph.initializer}
    count = 0
    for pair in find_pairs(model):
        if pair.tensor not in peaks:
            continue
        weights = _by_input(pair.second, constants)
        factor = find_factors(
            peaks[pair.tensor], weights, alpha=alpha, least=find_least_factors(equal, pair)
        )
        if np.ptp(factor) == 0:
            continue
        _scale_outputs(pair.first, constants, 1 / factor)
        _scale_inputs(pair.second, constants, factor)
        count += 1
    return equal if count else None


def _by_input(node: NodeProto, constants: Mapping[str, TensorProto]) -> NDArray[np.float32]:
    """Return the largest absolute weight of each input channel."""
    weight = np.abs(numpy_helper.to_array(constants[node.input[1]]))
    if node.op_type == "Gemm":
        found: NDArray[np.float32] = weight.max(axis=_output_axis(node))
        return found
    groups = _groups(node)
    by_group = weight.reshape(groups, len(weight) // groups, weight.shape[1], -1)
    found = by_group.max(axis=(1, 3)).reshape(-1)
    return found


def _scale_inputs(
    node: NodeProto, constants: Mapping[str, TensorProto], factor: NDArray[np.float64]
) -> None:
    weight = constants[node.input[1]]
    if node.op_type == "Gemm":
        scale(weight, factor.reshape([-1, 1] if _output_axis(node) else [1, -1]))
        return
    groups = _groups(node)
    by_output = np.repeat(factor.reshape(groups, -1), weight.dims[0] // groups, axis=0)
    scale(weight, by_output.reshape(*by_output.shape, *[1] * (len(weight.dims) - 2)))


def _scale_outputs(
    node: NodeProto, constants: Mapping[str, TensorProto], factor: NDArray[np.float64]
) -> None:
    shape = [1] * len(constants[node.input[1]].dims)
    shape[_output_axis(node)] = -1
    scale(constants[node.input[1]], factor.reshape(shape))
    if len(node.input) > 2 and node.input[2]:
        scale(constants[node.input[2]], factor)

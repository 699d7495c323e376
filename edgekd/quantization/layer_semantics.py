"""Read from its attributes and inputs what a layer with weights computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

WEIGHTED = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, kw_only=True)
class Semantics:
    """output = data * (factor * weight) + bias, with one bias for each output channel."""

    data: str
    weight: str
    axis: int
    """Of the output channels in the weight."""
    factor: np.float32
    bias: NDArray[np.float32] | None
    pairwise: bool
    """Whether it sums over several products, which x86 may add in pairs. A depthwise layer has
    kernels of its own, which add in 32 bits."""


def read_layer(
    node: NodeProto,
    constants: Mapping[str, TensorProto],
    readers: Mapping[str, Sequence[NodeProto]],
) -> Semantics | str:
    """Return what a Conv, Gemm or MatMul computes, or why it cannot be quantized.

    Args:
        node: one of `WEIGHTED`.
        constants: the initializers of the graph.
        readers: all nodes that read a tensor, those of subgraphs included.
    """
    data, weight = node.input[0], constants.get(node.input[1])
    if weight is None:
        return "its weight is computed, not constant"
    if data in constants:
        return "what it multiplies by its weight is constant"
    if weight.data_type != TensorProto.FLOAT:
        return f"its weight is {_type_name(weight)}, not float32"
    if (len(weight.dims) < 3) if node.op_type == "Conv" else (len(weight.dims) != 2):
        return (
            "its weight is not a matrix" if node.op_type != "Conv" else "its weight has no kernel"
        )
    if 0 in weight.dims:
        return "its weight is empty"
    if any(weight.name not in _weight_of(user) for user in readers[weight.name]):
        return "another kind of layer uses its weight too and would dequantize it in every run"
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    axis = int(
        node.op_type == "MatMul" or (node.op_type == "Gemm" and not attributes.get("transB"))
    )
    factor = np.float32(attributes.get("alpha", 1.0) if node.op_type == "Gemm" else 1.0)
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isfinite(numpy_helper.to_array(weight) * factor).all():
            return "its weight is not finite"
    bias = _bias(node, constants, attributes.get("beta", 1.0), channels=weight.dims[axis])
    if isinstance(bias, str):
        return bias
    depthwise = node.op_type == "Conv" and attributes.get("group", 1) == weight.dims[0]
    return Semantics(
        data=data,
        weight=weight.name,
        axis=axis,
        factor=factor,
        bias=bias,
        pairwise=not (depthwise and weight.dims[1] == 1 and weight.dims[0] > 1),
    )


def _type_name(tensor: TensorProto) -> str:
    return str(TensorProto.DataType.Name(tensor.data_type)).lower()


def _weight_of(node: NodeProto) -> Sequence[str]:
    """Return the name of the weight of a layer, if it is read once and nowhere else by it."""
    if node.op_type not in WEIGHTED or list(node.input).count(node.input[1]) != 1:
        return ()
    return (node.input[1],)


def _bias(
    node: NodeProto, constants: Mapping[str, TensorProto], beta: float, *, channels: int
) -> NDArray[np.float32] | str | None:
    """Return the bias of each channel, None if there is none, or why it cannot be one.

    A Gemm may give it as [N], [1, N], [1, 1], [1] or one number, and scales it by beta.
    """
    name = node.input[2] if len(node.input) > 2 and node.op_type != "MatMul" else ""
    factor = np.float32(beta if node.op_type == "Gemm" else 1.0)
    if not name or factor == 0:
        return None
    if name not in constants:
        return "its bias is computed, not constant"
    if constants[name].data_type != TensorProto.FLOAT:
        return f"its bias is {_type_name(constants[name])}, not float32"
    value = numpy_helper.to_array(constants[name])
    if value.size not in (1, channels) or value.shape[-1:] not in ((), (1,), (value.size,)):
        return "its bias differs from row to row"
    with np.errstate(over="ignore", invalid="ignore"):
        bias = np.broadcast_to(value.reshape(-1) * factor, (channels,)).astype(np.float32)
    return bias if np.isfinite(bias).all() else "its bias is not finite"

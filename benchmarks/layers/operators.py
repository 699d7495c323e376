"""What ONNX Runtime's operators are: which compute in INT8, which only move or convert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Kind = Literal["int8", "qdq", "layout", "other"]
"""int8: computes on 8-bit integers. qdq: quantizes or dequantizes by itself. layout: copies values
into another order or memory. other: all else, above all float."""

KINDS: tuple[Kind, ...] = ("int8", "qdq", "layout", "other")

INT8_PRODUCTS = frozenset(
    {
        *("QLinearConv", "ConvInteger", "QGemm", "QLinearMatMul", "MatMulInteger"),
        *("MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention"),
    }
)
"""Layers with weights, or products of two activations, that run on 8-bit integers."""

FLOAT_PRODUCTS = frozenset(
    {
        *("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"),
        *("Attention", "MultiHeadAttention"),
    }
)

CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})

LAYOUT = frozenset({"Transpose", "ReorderInput", "ReorderOutput", "MemcpyFromHost", "MemcpyToHost"})
"""Reorder* packs channels into blocks for float convolutions. A Transpose counts whoever put it:
the model, or the runtime around channels-last INT8 kernels."""

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
"""Another shape for the same bytes: ONNX Runtime mostly reuses the buffer."""

READS_PART = frozenset({"Gather", "GatherElements", "GatherND", "Slice"})
"""Read no more of their first input than they write."""

WITHOUT_PRODUCTS = frozenset(
    {
        *CONVERSIONS,
        *LAYOUT,
        *READS_PART,
        *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Sum", "Max", "Min", "Relu", "LeakyRelu"),
        *("Clip", "Cast", "Where", "Equal", "Greater", "Less", "Not", "QLinearAdd", "QLinearMul"),
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "NhwcMaxPool"),
        *("QLinearAveragePool", "QLinearGlobalAveragePool", "ReduceMean", "ReduceSum"),
        *("ReduceMax", "ReduceMin", "QLinearReduceMean", "Concat", "QLinearConcat", "Split"),
        *("Pad", "Expand", "Tile", "DepthToSpace", "SpaceToDepth", "ArgMax", "ArgMin"),
    }
)
"""No matrix product in them and about one operation for each value: memory is their only limit."""


def kind(operator: str, inputs: Sequence[str], outputs: Sequence[str]) -> Kind:
    """Return the kind of a node.

    Args:
        operator: its type in the optimised graph.
        inputs: element types as ONNX Runtime names them ("float", "uint8"), in order.
        outputs: the same of its outputs.
    """
    if operator in CONVERSIONS:
        return "qdq"
    if operator in LAYOUT:
        return "layout"
    if operator in INT8_PRODUCTS or operator.startswith(("QLinear", "DynamicQuantize")):
        return "int8"
    eight_bits = {"int8", "uint8"}
    if {*inputs[:1]} <= eight_bits and {*outputs[:1]} <= eight_bits and inputs and outputs:
        return "int8"
    return "other"

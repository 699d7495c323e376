"""The table of ONNX operators: which are products and of what size, which only move data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

Kind = Literal["int8", "qdq", "layout", "other"]
"""int8: computes on 8-bit integers. qdq: quantizes or dequantizes by itself. layout: copies values
into another order or memory. other: all else, above all float."""

KINDS: tuple[Kind, ...] = ("int8", "qdq", "layout", "other")

Shape = tuple[int, ...]
Count = Callable[[Shape, Shape, Shape], int | None]
"""From the shapes of data, weight and output to multiply-accumulates; None: they do not fit."""


def _conv(_: Shape, weight: Shape, output: Shape) -> int | None:
    """Each output value sums over the weight's [channels of a group, kernel...]."""
    return prod(output) * prod(weight[1:]) if len(weight) >= 3 else None


def _conv_transpose(data: Shape, weight: Shape, _: Shape) -> int | None:
    """Each input value meets the weight's [output channels of a group, kernel...].

    What padding cuts off at the rim is computed too, as ONNX Runtime does.
    """
    return prod(data) * prod(weight[1:]) if len(weight) >= 3 else None


def _gemm(left: Shape, _: Shape, output: Shape) -> int | None:
    """A of M x K, transposed or not, times N columns."""
    return prod(left) * output[-1] if len(left) == len(output) == 2 else None


def _matmul(left: Shape, right: Shape, output: Shape) -> int | None:
    """Products of matrices over leading axes, either factor transposed or not.

    K is what is left of each factor's last two axes beside M or N; where both do not agree, the
    node is something else (batch axes moved) and not counted.
    """
    if not left or not right:
        return None
    if len(left) == 1 or len(right) == 1:
        return prod(output) * left[-1]
    rows, columns = output[-2:]
    if 0 in (*left, *right, *output):
        return 0
    both = {prod(left[-2:]) / rows, prod(right[-2:]) / columns}
    depth = both.pop()
    return prod(output) * int(depth) if not both and depth in left[-2:] else None


@dataclass(frozen=True, kw_only=True)
class Product:
    """An operator that multiplies by weights, or two activations with each other."""

    count: Count | None = None
    """None: its multiply-accumulates are not counted here."""
    int8: bool = False
    """Whether it computes on 8-bit integers."""
    weight: int = 1
    """The index of the weight, or of the second factor, among the inputs."""
    integers: tuple[int, ...] = ()
    """Inputs that may be weights or biases stored as integers."""
    layout: tuple[int, ...] = ()
    """Inputs that are scales and zero points."""


_QLINEAR = Product(count=_matmul, int8=True, weight=3, integers=(3,), layout=(1, 2, 4, 5, 6, 7))
_INTEGER = Product(count=_matmul, int8=True, integers=(1,), layout=(2, 3))
PRODUCTS: dict[str, Product] = {
    **dict.fromkeys(("Conv", "FusedConv", "NhwcFusedConv"), Product(count=_conv)),
    "ConvTranspose": Product(count=_conv_transpose),
    **dict.fromkeys(("Gemm", "FusedGemm"), Product(count=_gemm)),
    **dict.fromkeys(("MatMul", "FusedMatMul"), Product(count=_matmul)),
    **dict.fromkeys(("Attention", "MultiHeadAttention"), Product()),
    "QLinearConv": replace(_QLINEAR, count=_conv, integers=(3, 8)),
    "QLinearMatMul": _QLINEAR,
    "QGemm": replace(_QLINEAR, count=_gemm, integers=(3, 6), layout=(1, 2, 4, 5, 7, 8)),
    "ConvInteger": replace(_INTEGER, count=_conv),
    "MatMulInteger": _INTEGER,
    "MatMulIntegerToFloat": replace(_INTEGER, layout=(2, 3, 4, 5)),
    "DynamicQuantizeMatMul": _INTEGER,
    **dict.fromkeys(("DynamicQuantizeLSTM", "QAttention"), Product(int8=True)),
}
"""Layers with weights, fused forms of ONNX Runtime included."""

RECURRENT = frozenset({"GRU", "LSTM", "RNN", "DynamicQuantizeLSTM"})
"""Layers that multiply by two weights in each step: inputs 1 and 2."""

QDQ = ("QuantizeLinear", "DequantizeLinear")

CONVERSIONS = frozenset({*QDQ, "DynamicQuantizeLinear"})

SCALES: dict[str, tuple[int, ...]] = {
    **{name: product.layout for name, product in PRODUCTS.items()},
    **dict.fromkeys(QDQ, (1, 2)),
    "Resize": (1, 2),
}
"""By operator, the inputs that describe a layout or a size and are not parameters."""

LAYOUT = frozenset({"Transpose", "ReorderInput", "ReorderOutput", "MemcpyFromHost", "MemcpyToHost"})
"""Reorder* packs channels into blocks for float convolutions. A Transpose counts wherever it is
from: the model, or the runtime around channels-last INT8 kernels."""

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})
"""Another shape for the same bytes: ONNX Runtime mostly reuses the buffer."""

SAME_VALUES = frozenset({*VIEWS, "Transpose"})
"""The values of the first input, in another shape or order."""

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
    if _computes_in_int8(operator):
        return "int8"
    eight_bits = {"int8", "uint8"}
    if {*inputs[:1]} <= eight_bits and {*outputs[:1]} <= eight_bits and inputs and outputs:
        return "int8"
    return "other"


def macs(operator: str, shapes: Sequence[Shape | None], output: Shape | None) -> int | None:
    """Return the multiply-accumulates of one run of a product.

    Args:
        operator: a key of `PRODUCTS`.
        shapes: of its inputs, in order; None: not known.
        output: shape of its first output.

    Returns:
        None: its products are not counted, or a shape is not known or does not fit.
    """
    product = PRODUCTS[operator]
    if product.count is None or len(shapes) <= product.weight:
        return None
    data, weight = shapes[0], shapes[product.weight]
    if data is None or weight is None or output is None:
        return None
    return product.count(data, weight, output)


def recurrent_macs(shapes: Sequence[Shape | None]) -> int | None:
    """Return the multiply-accumulates of one run of a recurrent layer; None: a shape is not known.

    Args:
        shapes: of its inputs: data [steps, batch, features] or batch first, then two weights
            [directions, gates * hidden, features or hidden], either factor transposed or not.
    """
    if len(shapes) < 3:
        return None
    data, weight, recurrence = shapes[:3]
    if data is None or weight is None or recurrence is None:
        return None
    return prod(data[:2]) * (prod(weight) + prod(recurrence))


def is_quantized(operator: str) -> bool:
    """Return whether an operator converts to or from 8-bit integers, or computes on them."""
    return operator in CONVERSIONS or _computes_in_int8(operator)


def _computes_in_int8(operator: str) -> bool:
    product = PRODUCTS.get(operator)
    named = operator.startswith(("QLinear", "DynamicQuantize"))
    return named or (product is not None and product.int8)

"""Layers with weights in a file, and how each comes to its data, weights and bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from onnx import NodeProto

from edgekd.exporters.lint.graph import Graph, Quantization, attribute

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_WEIGHT_OF = {
    "QLinearConv": 3,
    "QLinearMatMul": 3,
    "ConvInteger": 1,
    "MatMulInteger": 1,
    "MatMulNBits": 1,
    "QGemm": 3,
    "DynamicQuantizeMatMul": 1,
    "MatMulIntegerToFloat": 1,
    "LSTM": 1,
    "GRU": 1,
    "RNN": 1,
}
"""Other operators with weights, and the input that these are."""


@dataclass(frozen=True)
class Layer:
    """A Conv, ConvTranspose, Gemm or MatMul that multiplies by constants."""

    node: NodeProto
    weight: str
    """The constant."""
    data: Quantization | None
    """The DequantizeLinear that its first input is from."""
    rounded: Quantization | None
    """The DequantizeLinear that its weight is from."""
    bias: Quantization | None

    @property
    def quantized(self) -> bool:
        """Whether data and weight both come in rounded form."""
        return self.data is not None and self.rounded is not None


def layers(graph: Graph) -> Iterator[Layer]:
    """Yield the layers with constant weights of one scope, in the order of the graph."""
    for node in graph.nodes:
        if node.op_type in WEIGHTED and not node.domain and len(node.input) > 1:
            weight = graph.rounded_constant(node.input[1])
            if weight is not None and graph.rounded_constant(node.input[0]) is None:
                yield Layer(
                    node,
                    weight,
                    graph.dequantized(node.input[0]),
                    graph.dequantized(node.input[1]),
                    graph.dequantized(node.input[2]) if len(node.input) > 2 else None,
                )


def count_other(graph: Graph) -> int:
    """Return the number of layers with weights in other forms: integer operators, recurrent."""
    return sum(
        graph.rounded_constant(node.input[place]) is not None
        for node in graph.nodes
        if (place := _WEIGHT_OF.get(node.op_type, 0)) and len(node.input) > place
    )


def output_axis(node: NodeProto, rank: int) -> int:
    """Return the axis of the output channels in the weight of a layer."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return rank - 1


def wrong_axis(graph: Graph, layer: Layer) -> int | None:
    """Return the axis of the weight's scales where it is not that of the output channels."""
    rounded = layer.rounded
    if rounded is None or rounded.axis is None or rounded.block:
        return None
    rank = len(graph.dims(layer.weight) or ())
    axis = rounded.axis + rank if rounded.axis < 0 else rounded.axis
    return axis if axis != output_axis(layer.node, rank) else None

"""Constant weights that ONNX Runtime dequantizes whole in every call, or may add up wrongly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from onnx import NodeProto, TensorProto, numpy_helper

from edgekd.exporters.lint.cpu_fusion import Reason
from edgekd.exporters.lint.finding import Finding
from edgekd.exporters.lint.graph import Graph, attribute
from edgekd.exporters.lint.layers import layers, output_axis
from edgekd.exporters.lint.rules import found_at
from edgekd.exporters.pair_sums import count_unsafe

_LEAST = 1024
"""Elements: to dequantize fewer costs little."""
_MATRIX = 2
_CONVOLVES = ("QLinearConv", "ConvInteger")
_INTEGER = {"QLinearConv": 3, "ConvInteger": 1, "QLinearMatMul": 3, "MatMulInteger": 1}
"""Operators on integers, and which input is the weight."""
_PRODUCTS = ("MatMul", "Gemm", "FusedGemm", "FusedMatMul")
_FUSES = "ONNX Runtime fuses it with its product to MatMulNBits only where "


def find_dequantized_weights(
    best: Graph, file: Graph, conversions: Sequence[NodeProto]
) -> Iterator[tuple[NodeProto, NodeProto, Reason]]:
    """Yield each DequantizeLinear of a large constant, the layer that reads it, and why it is left.

    Args:
        best: the optimized graph.
        file: the graph as the file has it.
        conversions: QuantizeLinear and DequantizeLinear nodes of `best` that run by themselves.
    """
    for node in conversions:
        stored = best.constant(node.input[0]) if node.op_type == "DequantizeLinear" else None
        readers = best.readers.get(node.output[0], []) if stored is not None else []
        if stored is None or not readers or prod(stored.dims) < _LEAST:
            continue
        written = _as_written(file, node)
        own = [r for w in written for r in _readers(file, w.output[0])]
        same = [r for r in own if r.output[0] == readers[0].output[0]]
        clipped = _is_clipped(best, readers[0])
        shared = any(len(_readers(file, n)) > 1 for w in written for n in (*w.input, *w.output))
        why = _reason(readers[0].op_type, prod(stored.dims), clipped=clipped, shared=shared)
        yield node, (same or own or readers)[0], why


def find_unsafe_sums(file: Graph) -> Iterator[Finding]:
    """Find layers whose products leave 16 bits on x86 without VNNI: see exporters.pair_sums."""
    for node, weight, axis in _integer_layers(file):
        tensor = file.constant(weight)
        if tensor is None or tensor.data_type != TensorProto.INT8:
            continue
        count = count_unsafe(numpy_helper.to_array(tensor), axis)
        if count:
            yield found_at(
                node,
                "unsafe-sums",
                "warning",
                "its products of uint8 and int8 can leave 16 bits, in which x86 processors without "
                "VNNI add them in pairs: it answers otherwise there",
                "quantize the float file (edgekd quantize keeps pairs small), or with 7-bit "
                "weights (reduce_range of onnxruntime's quantizer)",
                source="run here",
                detail=f"{count:,} pairs of weights",
            )


def _integer_layers(file: Graph) -> Iterator[tuple[NodeProto, str, int]]:
    """Yield the layers that multiply integers in pairs, their weight, and its output axis."""
    for layer in layers(file):
        if layer.node.op_type == "ConvTranspose" or not layer.quantized:
            continue
        rank = len(file.dims(layer.weight) or ())
        yield from _in_pairs(file, layer.node, layer.weight, output_axis(layer.node, rank))
    for node in file.nodes:
        place = _INTEGER.get(node.op_type)
        if place is not None and len(node.input) > place:
            axis = 0 if node.op_type in _CONVOLVES else 1
            yield from _in_pairs(file, node, node.input[place], axis)


def _in_pairs(
    file: Graph, node: NodeProto, weight: str, axis: int
) -> Iterator[tuple[NodeProto, str, int]]:
    dims = [size or 0 for size in file.dims(weight) or ()]
    convolves = node.op_type in (*_CONVOLVES, "Conv")
    depthwise = convolves and dims[1:2] == [1] and attribute(node, "group", 1) == dims[0] > 1
    if len(dims) > 1 and not depthwise and (convolves or len(dims) == _MATRIX):
        yield node, weight, axis


def _as_written(file: Graph, node: NodeProto) -> list[NodeProto]:
    """Return the DequantizeLinear of the file; ONNX Runtime copies one that several layers read."""
    name = node.name.partition("/duplicated")[0]
    found = (scope.makers.get(node.output[0]) for scope in file.scopes())
    named = (n for scope in file.scopes() for n in scope.nodes if name and n.name == name)
    return [n for n in (*found, *named) if n is not None and n.op_type == node.op_type][:1]


def _is_clipped(best: Graph, reader: NodeProto) -> bool:
    behind = {node.op_type for node in best.readers.get(reader.output[0], [])}
    return reader.op_type == "FusedGemm" or bool(behind & {"Relu", "Clip"})


def _reason(kind: str, count: int, *, clipped: bool, shared: bool) -> Reason:
    cost, values = "its whole weight is dequantized in every call", f"{count:,} values"
    if kind not in _PRODUCTS:
        fix = (
            "gather the rows of the integers and their scales, and multiply those"
            if kind == "Gather"
            else "store the weight as float32, or quantize the activations too (edgekd quantize)"
        )
        return Reason("dequantized-weight", f"{cost}: {kind} has no kernel for it", fix, values)
    cost = f"{cost}, which takes longer than the whole layer in float32"
    if clipped:
        why = "no Relu or Clip reads the product or its sum with the bias"
        fix = "write that Relu as Max(x, 0), a Clip as Max and Min; edgekd quantize does that"
    elif shared:
        why = "nothing else reads the integers and the scales"
        fix = "give each layer a copy of both, or store the weight as float32"
    else:
        why = "the weight is [inputs, outputs], with scales along the outputs or in blocks"
        fix = "quantize the float file with edgekd, or store the weight as float32"
    return Reason("dequantized-weight", f"{cost}: {_FUSES}{why}", fix, values)


def _readers(file: Graph, name: str) -> list[NodeProto]:
    return [node for scope in file.scopes() for node in scope.readers.get(name, [])] if name else []

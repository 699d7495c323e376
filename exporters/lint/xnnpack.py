"""XNNPACK as a provider of ONNX Runtime, for phones: which Q/DQ layers it takes.

From ONNX Runtime's page on the provider and its source: `IsValidQuantConv`, `IsOnnxNodeSupported`
in core/providers/xnnpack/nn/conv_base.cc and `GetTensorQuantType` in detail/utils.cc. What it does
not take runs in ONNX Runtime's own CPU kernels. Nothing was run here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from onnx import ModelProto

from edgekd.exporters.lint.cpu_fusion import quantizers
from edgekd.exporters.lint.finding import Finding, Lint, findings_of
from edgekd.exporters.lint.graph import Graph, attribute, index, is_zero
from edgekd.exporters.lint.layers import Layer, layers
from edgekd.exporters.lint.provider_operators import unknown_operators
from edgekd.exporters.lint.rules import (
    INTEGER_OPERATORS,
    apply_rules,
    count_layers,
    found_at,
    half_quantized,
    is_quantized,
)

RUNTIME = "xnnpack"
_CONVOLVES = ("Conv", "ConvTranspose")
_REMAKE = "quantize with int8 activations (edgekd quantize: variants = ['int8-xnnpack'])"


def types(graph: Graph) -> Iterator[Finding]:
    """Find convolutions whose activations and weights have no common type."""
    for layer in _convolutions(graph):
        assert layer.data is not None
        assert layer.rounded is not None
        data, weight = layer.data.dtype, layer.rounded.dtype
        reason = ""
        if data != weight:
            reason = "activation and weight differ in type, and XNNPACK has kernels for int8 with "
            reason += "int8 and for uint8 with uint8"
        elif layer.data.axis is not None:
            reason = "its activation has a scale for each channel"
        elif layer.rounded.axis is not None and weight == "uint8":
            reason = "its weight is uint8 with a scale for each channel, which must be int8"
        elif layer.rounded.axis is not None and layer.node.op_type == "ConvTranspose":
            reason = "ConvTranspose takes one scale for its weight"
        elif layer.rounded.axis is not None and not is_zero(layer.rounded.zero):
            reason = "weights with a scale for each channel need zero point 0"
        if reason:
            yield found_at(
                layer.node,
                "types",
                "warning",
                f"{reason}: it runs in ONNX Runtime's own kernels",
                _REMAKE,
                source="from documentation",
                detail=f"{data} by {weight}",
            )


def results(graph: Graph) -> Iterator[Finding]:
    """Find convolutions whose result is not quantized to the type of their activation."""
    for layer in _convolutions(graph):
        assert layer.data is not None
        readers, _ = quantizers(graph, layer.node)
        after = [graph.quantization(n) for n in readers if n.op_type == "QuantizeLinear"]
        if len(after) == len(readers) == 1 and after[0].dtype == layer.data.dtype:
            continue
        yield found_at(
            layer.node,
            "output",
            "warning",
            "its result is not quantized once to the type of its activation, so that ONNX Runtime "
            "sees no Q/DQ group",
            "add a Q/DQ pair of the same type behind it, or behind its Relu",
            source="from documentation",
        )


def shapes(graph: Graph) -> Iterator[Finding]:
    """Find convolutions whose shapes XNNPACK does not take."""
    for node in graph.nodes:
        if node.op_type not in _CONVOLVES or node.domain:
            continue
        dims = graph.dims(node.input[0])
        reason = ""
        if dims is not None and len(dims) != 4:
            reason = f"it has {len(dims)} axes, and XNNPACK takes images only (4)"
        elif dims is None or None in dims[1:]:
            reason = "channels, height or width of its input are not known before a call"
        elif attribute(node, "auto_pad", b"") == b"SAME_LOWER":
            reason = "its auto_pad is SAME_LOWER"
        elif len(node.input) > 2 and node.input[2] and not _constant(graph, node.input[2]):
            reason = "its bias is not a constant"
        if reason:
            yield found_at(
                node,
                "shape",
                "warning",
                f"{reason}: it runs in ONNX Runtime's own kernels",
                "fix all axes but the batch when exporting, and store weights and biases",
                source="from documentation",
            )


def products(graph: Graph) -> Iterator[Finding]:
    """Note quantized products of matrices: XNNPACK's are float."""
    for layer in layers(graph):
        if layer.node.op_type in ("Gemm", "MatMul") and layer.quantized:
            yield found_at(
                layer.node,
                "product",
                "note",
                f"XNNPACK has {layer.node.op_type} in float only: it runs in ONNX Runtime's own "
                "kernels",
                "",
                source="from documentation",
            )


def factors(graph: Graph) -> Iterator[Finding]:
    """Find layers of which one factor is float: what is stored small is not computed so."""
    consequence = "it is computed in float, in ONNX Runtime's own kernels"
    return half_quantized(graph, consequence, fix=_REMAKE, source="from documentation")


def operator_format(graph: Graph) -> Iterator[Finding]:
    """Find integer operators: XNNPACK's integer kernels replace groups of Q/DQ."""
    for node in graph.nodes:
        kind = node.op_type
        integer = kind in INTEGER_OPERATORS or kind.startswith("QLinear")
        if integer or kind in ("QGemm", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"):
            yield found_at(
                node,
                "operator-format",
                "warning",
                f"{kind} is of the operator format: XNNPACK takes float operators between Q/DQ "
                "pairs, and this runs in ONNX Runtime's own kernels",
                "quantize statically in Q/DQ format with int8 activations (edgekd quantize: "
                "variants = ['int8-xnnpack']; onnxruntime: quant_format=QuantFormat.QDQ)",
                source="unverified" if kind == "QLinearConv" else "from documentation",
            )


def lint_xnnpack(path: Path, model: ModelProto) -> Lint:
    """Apply the rules to a file."""
    file = index(model)
    rules = (unknown_operators, types, results, shapes, products, factors, operator_format)
    found = findings_of(apply_rules(file, rules))
    int8, floats = count_layers(file, {one.node for one in found if one.weight != "note"})
    return Lint(
        file=path.name,
        runtime=RUNTIME,
        known="read from the file",
        by="the documentation and source of ONNX Runtime's XNNPACK provider",
        int8_layers=int8,
        quantized=is_quantized(file),
        float_layers=floats,
        findings=found,
    )


def _convolutions(graph: Graph) -> Iterator[Layer]:
    for layer in layers(graph):
        if layer.node.op_type in _CONVOLVES and layer.quantized:
            yield layer


def _constant(graph: Graph, name: str) -> bool:
    return graph.rounded_constant(name) is not None

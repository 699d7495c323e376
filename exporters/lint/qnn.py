"""QNN as a provider of ONNX Runtime, for the NPU of Qualcomm's chips.

From ONNX Runtime's page on the provider: fixed shapes, no Loop and If, types of activations. From
its source: the operators. Nothing was run here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from onnx import ModelProto

from edgekd.exporters.lint.finding import Finding, Lint, findings_of
from edgekd.exporters.lint.graph import Graph, index
from edgekd.exporters.lint.layers import layers
from edgekd.exporters.lint.provider_operators import QNN, unknown_operators
from edgekd.exporters.lint.rules import (
    INTEGER_OPERATORS,
    apply_rules,
    conversions,
    count_layers,
    found_at,
    found_in_file,
    free_axes,
    half_quantized,
    is_of_weight,
    is_quantized,
    unsupported,
)

RUNTIME = "qnn"


def shapes(graph: Graph) -> Iterator[Finding]:
    """Find inputs whose shape is not fixed."""
    for name, shown in free_axes(graph):
        yield found_in_file(
            "free-axes",
            "error",
            f"input {name!r} is {shown}, and QNN takes fixed shapes only",
            "fix the shape when exporting, or with onnxruntime.tools.make_dynamic_shape_fixed",
            source="from documentation",
        )


def operators(graph: Graph) -> Iterator[Finding]:
    """Find operators that run on the CPU."""
    what = "{operator} is not among the operators that the QNN provider registers in its source "
    what += "(op_builder_factory.cc): unless a newer release has it, it runs on the CPU"
    yield from unsupported(
        graph,
        QNN | INTEGER_OPERATORS,
        what=what,
        domains=("com.microsoft",),
        weight="warning",
        source="from documentation",
    )
    for node in graph.nodes:
        if node.op_type in INTEGER_OPERATORS or node.op_type.startswith("QLinear"):
            yield found_at(
                node,
                "integer-operator",
                "warning",
                f"QNN takes Q/DQ graphs, and {node.op_type} runs on the CPU",
                "quantize statically in Q/DQ format",
                source="from documentation",
            )


def activations(graph: Graph) -> Iterator[Finding]:
    """Find activations of a type that few of its operators take."""
    for node, what in conversions(graph):
        unusual = what.dtype in ("int8", "int16") and not is_of_weight(graph, node)
        if unusual and node.op_type == "QuantizeLinear":
            yield found_at(
                node,
                "activation",
                "warning",
                "it rounds to signed integers; operators of QNN typically take uint8 and uint16",
                "quantize activations as uint8 (edgekd quantize: variants = ['int8'])",
                source="from documentation",
            )


def products(graph: Graph) -> Iterator[Finding]:
    """Find layers that are not quantized on both sides, and int8 factors of MatMul."""
    consequence = "the NPU does not compute it in INT8"
    yield from half_quantized(graph, consequence, source="from documentation")
    for layer in layers(graph):
        if layer.data is None and layer.rounded is None:
            yield found_at(
                layer.node,
                "float-layer",
                "note",
                "it is float: the NPU takes quantized layers, and float ones only as float16 on "
                "newer chips",
                "",
                source="from documentation",
            )
        rounded = layer.rounded
        if layer.node.op_type == "MatMul" and rounded is not None and rounded.dtype == "int8":
            yield found_at(
                layer.node,
                "matmul-types",
                "note",
                "its weight is int8; the page of the provider lists MatMul of uint8 and uint16 "
                "factors",
                "check on the device that it is not left to the CPU "
                "(session.disable_cpu_ep_fallback = 1)",
                source="unverified",
            )


def lint_qnn(path: Path, model: ModelProto) -> Lint:
    """Apply the rules to a file."""
    file = index(model)
    rules = (unknown_operators, shapes, operators, activations, products)
    found = findings_of(apply_rules(file, rules))
    int8, floats = count_layers(file)
    return Lint(
        file=path.name,
        runtime=RUNTIME,
        known="read from the file",
        by="the documentation and source of ONNX Runtime's QNN provider",
        int8_layers=int8,
        quantized=is_quantized(file),
        float_layers=floats,
        findings=found,
    )

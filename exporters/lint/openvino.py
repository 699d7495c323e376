"""OpenVINO on a CPU: rules that were seen in its own list of kernels, and that list if it is here.

Seen in OpenVINO 2026.4.1 on a Xeon with AMX, float32 as precision: the name of a kernel ends in i8
or f32. An EfficientNet-Lite0 of int8 activations with zero points, as onnxruntime's quantizer
writes by default, took 1.6 times as long as in float32, for its convolutions ran in float. On an
EPYC with AVX2 alone they run in INT8: what this processor does decides what is a fault here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from onnx import ModelProto

from edgekd.errors import one_line
from edgekd.exporters.lint.finding import Finding, Lint, findings_of
from edgekd.exporters.lint.graph import Graph, index, is_zero, label
from edgekd.exporters.lint.layers import layers, wrong_axis
from edgekd.exporters.lint.provider_operators import unknown_operators
from edgekd.exporters.lint.rules import (
    apply_rules,
    count_layers,
    found_at,
    half_quantized,
    is_quantized,
)

RUNTIME = "openvino"
_REMAKE = "quantize activations as uint8, or as int8 with zero point 0 (edgekd quantize)"
_PRODUCTS = ("Convolution", "FullyConnected", "MatMul", "Deconvolution", "GroupConvolution")
_CONVOLVES = ("Conv", "ConvTranspose")
_LACKS = ("QGemm", "QLinearGlobalAveragePool")


def operator_format(graph: Graph) -> Iterator[Finding]:
    """Find operators of quantized files in operator format that it lacks, or computes in float."""
    for node in graph.nodes:
        fix = "quantize in Q/DQ format (onnxruntime: quant_format=QuantFormat.QDQ)"
        if node.op_type in _LACKS and node.domain == "com.microsoft":
            yield found_at(
                node,
                "operator-format",
                "error",
                f"OpenVINO cannot convert {node.op_type} of ONNX Runtime",
                fix,
                source="run here",
            )
        elif node.op_type == "QLinearConv" and (graph.dims(node.input[4]) or (1,)) != (1,):
            yield found_at(
                node,
                "operator-format",
                "warning",
                "OpenVINO multiplies in float in a QLinearConv with a scale for each channel",
                fix,
                source="run here",
            )


def integer_operators(graph: Graph) -> Iterator[Finding]:
    """Find operators of dynamic quantization, which it computes in float."""
    for node in graph.nodes:
        if node.op_type in ("ConvInteger", "MatMulInteger") and not node.domain:
            yield found_at(
                node,
                "integer-operator",
                "warning",
                f"OpenVINO computes {node.op_type}, of dynamic quantization, in float: an "
                "EfficientNet-Lite0 took 2.5 times as long as in float32",
                "quantize statically in Q/DQ format, or take the float file",
                source="run here",
            )


def activations(graph: Graph) -> Iterator[Finding]:
    """Find layers whose activations have no integer kernel."""
    for layer in layers(graph):
        data = layer.data
        if data is None or not layer.quantized:
            continue
        if data.dtype in ("int16", "uint16"):
            why = "its activation has 16 bits"
        elif data.signed and not is_zero(data.zero) and layer.node.op_type in _CONVOLVES:
            why = "its activation is int8 with a zero point that is not 0"
        else:
            continue
        yield found_at(
            layer.node,
            "activation",
            "warning",
            f"{why}: OpenVINO multiplies in float there",
            _REMAKE,
            source="run here",
        )


def weights(graph: Graph) -> Iterator[Finding]:
    """Find layers whose weights have no integer kernel."""
    for layer in layers(graph):
        rounded = layer.rounded
        if rounded is None or not layer.quantized:
            continue
        if rounded.dtype == "uint8" or not is_zero(rounded.zero):
            why = "its weight is uint8, or has a zero point"
        elif layer.node.op_type not in _CONVOLVES:
            continue
        elif layer.node.op_type == "Conv" and wrong_axis(graph, layer) is not None:
            why = "the scales of its weight are not those of the output channels"
        elif layer.node.op_type == "ConvTranspose":
            why = "ConvTranspose has no integer kernel on the CPU tried"
        else:
            continue
        yield found_at(
            layer.node,
            "weight",
            "note" if layer.node.op_type == "ConvTranspose" else "warning",
            f"{why}: OpenVINO multiplies in float there",
            "quantize weights as int8, symmetric, per output channel",
            source="run here",
        )


def factors(graph: Graph) -> Iterator[Finding]:
    """Find layers of which one factor is float."""
    return half_quantized(graph, "OpenVINO multiplies in float there", source="run here")


RULES = (unknown_operators, operator_format, integer_operators, activations, weights, factors)
_FLOAT = frozenset({"activation", "weight", "float-input"})


def lint_openvino(path: Path, model: ModelProto, *, load: bool = True) -> Lint:
    """Apply the rules, and let OpenVINO compile the file if it is installed.

    Args:
        path: the file.
        model: what it contains.
        load: whether OpenVINO may be imported.
    """
    file = index(model)
    found = findings_of(apply_rules(file, RULES))
    int8, floats = count_layers(file, {one.node for one in found if one.rule in _FLOAT})
    known = load and importlib.util.find_spec("openvino") is not None
    by = "rules that OpenVINO 2026.4 showed"
    if known:
        from edgekd.benchmarks.runtimes.openvino_engine import import_openvino

        openvino = import_openvino()
        by = f"OpenVINO {openvino.__version__.partition('-')[0]} on this CPU"
        try:
            kernels = _kernels(openvino, path)
        except RuntimeError as error:
            found = findings_of(found, [_refused(error)])
        else:
            int8 = sum(kernels.values())
            floats = len(kernels) - int8
            known_nodes = {one.node for one in found}
            found = findings_of(_held(file, kernels, found), _others(file, kernels, known_nodes))
    return Lint(
        file=path.name,
        runtime=RUNTIME,
        known="run here" if known else "read from the file",
        by=by,
        int8_layers=int8,
        quantized=is_quantized(file),
        float_layers=floats,
        findings=found,
    )


def _kernels(openvino: Any, path: Path) -> Mapping[str, bool]:
    """Return the products of the compiled model: the nodes they are made of, whether in INT8."""
    core = openvino.Core()
    # Unasked, some processors would compute float32 files in bfloat16.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path), "CPU", options)
    found = {}
    for node in compiled.get_runtime_model().get_ops():
        facts = {
            key: str(value.astype(str)) if hasattr(value, "astype") else str(value)
            for key, value in dict(node.get_rt_info()).items()
        }
        if facts.get("layerType") in _PRODUCTS:
            names = f"{node.get_friendly_name()},{facts.get('originalLayersNames', '')}"
            found[names] = facts.get("primitiveType", "").lower().endswith(("i8", "u8"))
    return found


def _held(file: Graph, kernels: Mapping[str, bool], found: Sequence[Finding]) -> Iterator[Finding]:
    """Yield what the rules found; it is a note where this processor has a kernel in INT8."""
    int8 = _parts(names for names, whole in kernels.items() if whole)
    outputs = {label(node): node.output[0] for scope in file.scopes() for node in scope.nodes}
    for one in found:
        if one.rule in _FLOAT and {one.node, outputs.get(one.node)} & int8:
            reason = f"{one.reason} on other processors, and in INT8 on this one"
            yield replace(one, weight="note", reason=reason)
        else:
            yield one


def _parts(kernels: Iterable[str]) -> set[str | None]:
    """Return the names of nodes and tensors that products are made of."""
    return {
        part.removesuffix("/WithoutBiases").removesuffix("_original")
        for names in kernels
        for part in names.split(",")
    }


def _others(file: Graph, kernels: Mapping[str, bool], known: set[str]) -> Iterator[Finding]:
    """Find quantized layers that run in float and that no rule names."""
    floats = _parts(names for names, int8 in kernels.items() if not int8)
    for scope in file.scopes():
        for layer in layers(scope):
            here = {layer.node.name, layer.node.output[0]} & floats
            if layer.quantized and here and label(layer.node) not in known:
                yield found_at(
                    layer.node,
                    "engine-float",
                    "warning",
                    "OpenVINO multiplies in float here, though data and weight are quantized",
                    "look at the pairs around it: one that is missing or differs keeps it in float",
                    source="run here",
                )


def _refused(error: RuntimeError) -> Finding:
    return Finding(
        rule="not-loaded",
        weight="error",
        node="",
        reason=one_line(error)[-400:],
        fix="export the file again without what it names",
    )

"""How TensorRT wants Q/DQ: symmetric int8, scales that are positive constants, float biases.

Each rule is tried in TensorRT-RTX 1.7 by the tests, with the fault and without. What a rule says
of layers that silently run in float is seen there in the list of the engine's layers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgekd.exporters.lint.cpu_fusion import CLIPS
from edgekd.exporters.lint.finding import Finding
from edgekd.exporters.lint.graph import Graph, is_zero, label
from edgekd.exporters.lint.layers import WEIGHTED, layers, output_axis, wrong_axis
from edgekd.exporters.lint.rules import (
    conversions,
    found_at,
    found_in_file,
    free_axes,
    half_quantized,
    is_of_weight,
)

_ALLOWED = ("int8", "int4", "float8e4m3fn", "float4e2m1")
_REMAKE = "quantize for TensorRT: symmetric int8 (edgekd quantize: variants = ['int8-tensorrt'])"


def types(graph: Graph) -> Iterator[Finding]:
    """Find integers that TensorRT does not read, or reads as something else."""
    for node, what in conversions(graph):
        kind = what.dtype
        if kind == "int32":
            yield found_at(
                node,
                "int32-bias",
                "error",
                "a bias is stored as int32 with a DequantizeLinear, which TensorRT refuses",
                "leave biases in float (edgekd quantize: variants = ['int8-tensorrt']; "
                "onnxruntime: extra_options={'QuantizeBias': False})",
                source="run here",
            )
        elif kind == "uint8" and is_zero(what.zero):
            told = len(node.input) > 2 and node.input[2]
            yield found_at(
                node,
                "uint8",
                "error",
                ("it is uint8 with zero point 0" if told else "without a zero point it is uint8")
                + ": TensorRT reads it as int8 without a word, so that values above 127 steps are "
                "clipped",
                _REMAKE,
                source="run here",
            )
        elif kind and kind not in (*_ALLOWED, "uint8"):
            yield found_at(
                node,
                "bits",
                "error",
                "its integers are of a type that TensorRT does not read",
                _REMAKE,
                source="run here",
                detail=kind,
            )


def zero_points(graph: Graph) -> Iterator[Finding]:
    """Find zero points other than 0."""
    for node, what in conversions(graph):
        if what.dtype == "int32" or is_zero(what.zero):
            continue
        shown = "computed" if what.zero is None else str(int(what.zero.ravel()[0]))
        yield found_at(
            node,
            "zero-point",
            "error",
            "its zero point is not 0, and TensorRT refuses all others",
            _REMAKE,
            source="run here",
            detail=shown,
        )


def scales(graph: Graph) -> Iterator[Finding]:
    """Find scales that are not positive constants."""
    for node, what in conversions(graph):
        if what.scale is None:
            reason = (
                "its scale is computed by the graph; TensorRT-RTX crashed where a layer reads it"
            )
        elif not np.all(what.scale.astype(np.float64) > 0):
            reason = "a scale of it is 0, negative or not a number, which TensorRT refuses"
        else:
            continue
        yield found_at(
            node, "scale", "error", reason, "store a positive constant as scale", source="run here"
        )


def axes(graph: Graph) -> Iterator[Finding]:
    """Find scales along axes that make a layer run in float without a word."""
    for layer in layers(graph):
        axis = wrong_axis(graph, layer)
        if axis is not None and layer.quantized:
            rank = len(graph.dims(layer.weight) or ())
            yield found_at(
                layer.node,
                "weight-axis",
                "warning",
                f"the scales of its weight lie along axis {axis}: TensorRT runs it in float "
                "without a word",
                f"quantize the weight along axis {output_axis(layer.node, rank)}, the output "
                "channels, or with one scale",
                source="run here",
            )
        if layer.data is not None and layer.data.axis is not None:
            yield found_at(
                layer.node,
                "per-channel-activation",
                "warning",
                "its activation has a scale for each channel: TensorRT runs it in float without "
                "a word",
                "quantize activations per tensor; only weights per channel",
                source="run here",
            )


def inputs_of_layers(graph: Graph) -> Iterator[Finding]:
    """Find layers of which only one factor is quantized: they run in float."""
    consequence = "TensorRT multiplies in INT8 only if both factors are"
    return half_quantized(graph, consequence, source="run here")


def deconvolutions(graph: Graph) -> Iterator[Finding]:
    """Note transposed convolutions: TensorRT-RTX ran all that were tried in float."""
    for layer in layers(graph):
        if layer.node.op_type == "ConvTranspose" and layer.quantized:
            yield found_at(
                layer.node,
                "conv-transpose",
                "note",
                "TensorRT-RTX 1.7 runs ConvTranspose in float; the documentation of TensorRT has "
                "INT8 for it",
                "look it up in the layers of the engine on the device",
                source="run here",
            )


def unsigned_tensors(graph: Graph) -> Iterator[Finding]:
    """Find uint8 tensors that anything but a Cast reads."""
    unsigned = {n for n in [*graph.inputs, *graph.makers] if graph.dtype(n) == "uint8"}
    made = {node.output[0] for node, _ in conversions(graph)}
    for name in sorted(unsigned - made):
        for node in graph.readers.get(name, []):
            if node.op_type not in ("Cast", "DequantizeLinear", "QuantizeLinear"):
                yield found_at(
                    node,
                    "uint8-tensor",
                    "error",
                    "it computes on uint8, which TensorRT has only at inputs and outputs",
                    "cast the uint8 input to float first, then move its values",
                    source="run here",
                )


def pairs(graph: Graph) -> Iterator[Finding]:
    """Note QuantizeLinear nodes that TensorRT's placement rules advise against."""
    for node, _ in conversions(graph):
        if node.op_type != "QuantizeLinear" or is_of_weight(graph, node):
            continue
        maker = graph.maker(node.input[0])
        if maker is None or maker.op_type not in WEIGHTED:
            continue
        pairs_with = graph.readers.get(node.output[0], [])
        after = [r for dq in pairs_with for r in graph.readers.get(dq.output[0], [])]
        clips = [reader for reader in after if reader.op_type in (*CLIPS, "BatchNormalization")]
        if clips:
            yield found_at(
                node,
                "splits-fusion",
                "note",
                f"it stands between a layer and its {clips[0].op_type}, which TensorRT would fuse",
                f"quantize behind the {clips[0].op_type} only",
                source="from documentation",
                detail=label(maker),
            )


def residuals(graph: Graph) -> Iterator[Finding]:
    """Note additions of a quantized branch where the other branch is float."""
    for node in graph.nodes:
        if node.op_type != "Add" or node.domain or len(node.input) != 2:
            continue
        constants = [graph.rounded_constant(name) is not None for name in node.input]
        makers = [graph.maker(name) for name in node.input]
        layer = [m is not None and m.op_type in ("Conv", "ConvTranspose") for m in makers]
        if any(constants) or not any(layer):
            continue
        rounded = [graph.dequantized(name) is not None for name in node.input]
        quantized = any(
            graph.dequantized(m.input[0]) is not None
            for m, is_layer in zip(makers, layer, strict=True)
            if is_layer and m is not None
        )
        if quantized and not any(rounded):
            yield found_at(
                node,
                "float-residual",
                "note",
                "it adds the result of a quantized layer to a float tensor, so that the layer and "
                "the addition are fused in float",
                "put a Q/DQ pair on the other branch",
                source="from documentation",
            )


def profiles(graph: Graph) -> Iterator[Finding]:
    """Note inputs whose shapes must be given when the engine is built."""
    for name, shown in free_axes(graph):
        yield found_in_file(
            "free-axes",
            "note",
            f"input {name!r} is {shown}: an engine needs its least, usual and largest shape",
            "give --minShapes, --optShapes and --maxShapes to trtexec (edgekd export prints them)",
            source="run here",
        )


def half_scales(graph: Graph) -> Iterator[Finding]:
    """Find float16 scales, on which builds for Orin failed."""
    for node, what in conversions(graph):
        if what.scale is not None and what.scale.dtype == np.float16:
            yield found_at(
                node,
                "float16-scale",
                "warning",
                "its scale is float16: TensorRT 10.16 built such files on Thor and not on Orin "
                "(NVIDIA/TensorRT issue 4832)",
                "store scales in float32",
                source="from documentation",
            )

"""Make a plan from the selected nodes and the measured ranges: scales, and what stays float."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from edgekd.quantization.absorption import Absorbed, find_absorbed, find_clipping
from edgekd.quantization.float_stems import find_float_stems
from edgekd.quantization.headroom import Range
from edgekd.quantization.layer_semantics import Semantics
from edgekd.quantization.layouts import Layout
from edgekd.quantization.node_selection import LARGEST, Choice, choose
from edgekd.quantization.pixels import Pixels, find_pixels
from edgekd.quantization.placement import Reads, group_by_scale, place
from edgekd.quantization.plan import Activations, Grid, Layer, Plan
from edgekd.quantization.scales import find_weight_scale, make_grid, round_weight

_SAME_GRID = {  # what they give are values that they were given: one grid, or nothing fuses
    *("MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Resize", "Split"),
    *("Slice", "Gather", "DepthToSpace", "SpaceToDepth"),
}
_EMPTY: Range = (np.float32(0), np.float32(0))
_SHARES: Range = (np.float32(0), np.float32(1))
"""Of a Softmax: QLinearSoftmax of ONNX Runtime 1.31 does not clip but wraps around."""
_MOST_WIDER = 2.0
"""Times that what a Pad writes may widen the range of what it pads."""


def list_watched(model: ModelProto, choice: Choice, layout: Layout) -> list[str]:
    """Return the tensors whose ranges the plan of a choice takes."""
    reads = place(model, choice, layout)
    names = dict.fromkeys(_rounded_tensors(model, choice, reads, layout))
    for node in _chosen(model, choice):
        if node.op_type == "Pad":
            names |= dict.fromkeys([node.input[0], node.output[0]])
        layer = choice.layers.get(node.name)
        if layer is not None and layer.bias is not None and layout.bias == "int32":
            names[node.output[0]] = None
    return list(names)


def make_plan(
    model: ModelProto,
    choice: Choice,
    ranges: Mapping[str, Range],
    layout: Layout,
    *,
    floats: Mapping[str, str] | None = None,
) -> Plan:
    """Return the plan of a choice: what no grid serves is taken out of it.

    Args:
        model: every node has its own name.
        choice: of this graph, from its structure alone.
        ranges: of all tensors that are `list_watched`.
        layout: of the runtimes that it is for.
        floats: tensors that must stay float: name, reason.
    """
    barred: dict[str, str] = {}
    stems = find_float_stems(model) if layout.absorbs else {}
    wide = {**stems, **_too_wide(model, choice, ranges), **(floats or {})}
    pixels = find_pixels(model) if layout.reads_pixels else {}
    while True:
        now = choose(model, barred=barred, wide=wide) if barred or wide else choice
        absorbed = find_absorbed(model, now) if layout.absorbs else Absorbed()
        reads = place(model, now, layout)
        gone = frozenset(absorbed.nodes.values()) | _read_as_pixels(reads, pixels)
        names = [n for n in _rounded_tensors(model, now, reads, layout) if n not in gone]
        if layout.rounds == "regions":
            tensors = _grids(model, now, names, ranges, layout.activations, absorbed)
        else:
            tensors = _shared_grids(model, names, ranges, layout.activations)
        layers, refused = _layers(model, now, ranges, tensors, absorbed.nodes, pixels, layout)
        if not refused:
            break
        barred |= refused
    reads = {name: read for name, read in reads.items() if name not in absorbed.nodes}
    return Plan(
        kind=now.kind,
        reads=reads,
        tensors=tensors,
        rounded=_rounded_everywhere(model, now, layout) & frozenset(tensors),
        layers=layers,
        absorbed=tuple(absorbed.nodes),
        left=now.left,
        constants=_constant_grids(model, reads, layout.activations),
        factors=absorbed.factors,
        shifts=absorbed.shifts,
    )


def _constant_grids(model: ModelProto, reads: Reads, activations: Activations) -> dict[str, Grid]:
    read = {name for names in reads.values() for name in names}
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if t.name in read}
    return {
        name: make_grid(float(array.min()), float(array.max()), activations)
        for name, array in values.items()
    }


def _rounded_everywhere(model: ModelProto, choice: Choice, layout: Layout) -> frozenset[str]:
    """Return the tensors that no node reads as they were made."""
    if layout.rounds == "inputs":
        return frozenset()
    return frozenset(
        name
        for node in _chosen(model, choice)
        for name in node.output
        if choice.kind == "convolutional" or node.op_type not in ("Gemm", "MatMul")
    )


def _read_as_pixels(reads: Reads, pixels: Mapping[str, Pixels]) -> frozenset[str]:
    """Return the float tensors that are not needed: all chosen nodes read the pixels."""
    read: dict[str, bool] = {}
    for node, names in reads.items():
        for name in names:
            read[name] = read.get(name, True) and node in pixels
    return frozenset(name for name, only in read.items() if only)


def _layers(
    model: ModelProto,
    choice: Choice,
    ranges: Mapping[str, Range],
    tensors: Mapping[str, Grid],
    absorbed: Mapping[str, str],
    pixels: Mapping[str, Pixels],
    layout: Layout,
) -> tuple[dict[str, Layer], dict[str, str]]:
    """Return the layers with their scales, and those that no scale serves with the reason."""
    constants = {t.name: t for t in model.graph.initializer}
    chosen = _chosen(model, choice)
    clipped = {absorbed[node.name]: node.output[0] for node in chosen if node.name in absorbed}
    layers: dict[str, Layer] = {}
    refused: dict[str, str] = {}
    for node in chosen:
        if node.name not in choice.layers:
            continue
        layer = choice.layers[node.name]
        given = clipped.get(node.output[0], node.output[0])
        low, high = ranges.get(given, _EMPTY)
        step = tensors[given].scale if given in tensors else (high - low) / 255
        weight = numpy_helper.to_array(constants[layer.weight]) * layer.factor
        seen = pixels.get(node.name)
        scale = find_weight_scale(
            weight if seen is None else seen.widen(weight),
            layer.axis,
            tensors[layer.data].scale if seen is None else np.float32(1),
            layer.bias if layout.bias == "int32" else None,
            step=float(step),
            pairwise=layer.pairwise and layout.fits_16_bits,
        )
        if isinstance(scale, str):
            refused[node.name] = scale
        else:
            layers[node.name] = _planned(layer, scale, seen, weight, layout)
    return layers, refused


def _planned(
    layer: Semantics,
    scale: NDArray[np.float32],
    pixels: Pixels | None,
    weight: NDArray[np.float32],
    layout: Layout,
) -> Layer:
    bias = layer.bias
    pairwise = layer.pairwise and layout.fits_16_bits
    if pixels is not None:
        by_output = scale.reshape(-1, *[1] * (weight.ndim - 1)).astype(np.float64)
        whole = round_weight(pixels.widen(weight), layer.axis, scale, pairwise=pairwise)
        rounded = whole * by_output
        bias = pixels.correct_bias(bias, weight, rounded)
    return Layer(
        data=layer.data,
        weight=layer.weight,
        axis=layer.axis,
        factor=layer.factor,
        scale=scale,
        bias=bias,
        rounds_bias=layout.bias == "int32",
        pairwise=pairwise,
        pixels=pixels,
    )


def _chosen(model: ModelProto, choice: Choice) -> list[NodeProto]:
    nodes = set(choice.nodes)
    return [node for node in model.graph.node if node.name in nodes]


def _rounded_tensors(model: ModelProto, choice: Choice, reads: Reads, layout: Layout) -> list[str]:
    """Return the tensors that a choice rounds, in the order in which they are made.

    What a Gemm or MatMul gives stays float where no chosen node reads it: ONNX Runtime's kernels
    write float as cheaply as 8 bits, answers of 8 bits would tie, and on the residual stream of a
    transformer they would add up.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    floats = {
        value.name
        for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]
        if value.type.tensor_type.elem_type == 1
    } - constants
    chosen = _chosen(model, choice)
    # Behind an unknown operator no types are inferred; beside float weights all is float.
    floats |= {layer.data for layer in choice.layers.values()}
    floats |= {node.output[0] for node in chosen if node.name in choice.layers}
    found = {name for names in reads.values() for name in names}
    for node in chosen:
        if layout.rounds == "regions" and node.op_type not in ("Gemm", "MatMul"):
            found.update(node.output)
    made = [v.name for v in model.graph.input] + [n for v in model.graph.node for n in v.output]
    return [name for name in dict.fromkeys(made) if name in found and name in floats]


def _too_wide(model: ModelProto, choice: Choice, ranges: Mapping[str, Range]) -> dict[str, str]:
    """Return the tensors that no 8-bit grid serves, with the reason."""
    wide: dict[str, str] = {}
    for name, (low, high) in ranges.items():
        if not (np.isfinite(low) and np.isfinite(high)) or max(-low, high) > LARGEST:
            wide[name] = f"the range of {name!r} is not finite, or a placeholder for infinity"
    for node in _chosen(model, choice):
        if node.op_type == "Pad" and node.input[0] in ranges and node.output[0] in ranges:
            before, after = (_width(ranges[name]) for name in (node.input[0], node.output[0]))
            if after > _MOST_WIDER * before:
                wide[node.output[0]] = f"the constant of a Pad stretches {node.output[0]!r}"
    return wide


def _width(found: Range) -> float:
    low, high = found
    return max(0.0, float(high)) - min(0.0, float(low))


def _grids(
    model: ModelProto,
    choice: Choice,
    names: Sequence[str],
    ranges: Mapping[str, Range],
    dtype: Activations,
    absorbed: Absorbed,
) -> dict[str, Grid]:
    """Return the grids of tensors that every chosen node gives and reads in 8 bits."""
    same = {
        name: node.input[0]
        for node in _chosen(model, choice)
        if node.op_type in _SAME_GRID
        for name in node.output
    }
    chosen, ranges = _chosen(model, choice), dict(ranges)
    clipping = find_clipping(model, chosen)
    for node in reversed(chosen):
        if node.name in clipping and node.output[0] in ranges:
            ranges[node.input[0]] = ranges[node.output[0]]
    ranges |= {
        node.output[0]: _SHARES
        for node in model.graph.node
        if node.op_type == "Softmax" or node.name in absorbed.shifts
    }
    grids: dict[str, Grid] = {}
    for name in names:
        if name in same:
            grids[name] = grids[same[name]]
        else:  # an empty tensor has no range
            low, high = ranges.get(name, _EMPTY)
            grids[name] = make_grid(float(low), float(high), dtype)
    return grids


def _shared_grids(
    model: ModelProto, names: Sequence[str], ranges: Mapping[str, Range], dtype: Activations
) -> dict[str, Grid]:
    """Return the grids of tensors that float nodes give, one for all that a runtime joins."""
    groups = group_by_scale(model, names)
    bounds: dict[str, Range] = {}
    for name, group in groups.items():
        (low, high), (least, most) = ranges.get(name, _EMPTY), bounds.get(group, _EMPTY)
        bounds[group] = (np.minimum(low, least), np.maximum(high, most))
    grids = {g: make_grid(float(low), float(high), dtype) for g, (low, high) in bounds.items()}
    return {name: grids[groups[name]] for name in names}

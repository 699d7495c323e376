"""The variant `int8-dynamic`: products with constant weights, their input rounded as it comes.

The range of an activation is that of the call itself: no calibration, no outlier that stretches
it for other samples, and one pass more over the data. ONNX Runtime fuses DynamicQuantizeLinear,
MatMulInteger and the scaling to one kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekd.errors import NothingToDo
from edgekd.exporters.onnx_files import check, save_onnx
from edgekd.exporters.strip import strip
from edgekd.quantization.calibrated import Calibrated, Chosen, Watched
from edgekd.quantization.graph_draft import Draft
from edgekd.quantization.layer_semantics import Semantics
from edgekd.quantization.proof import FloatAnswers, check_follows
from edgekd.quantization.quantized import QuantizedFacts
from edgekd.quantization.scales import find_weight_scale, round_weight


def watch_dynamic(chosen: Chosen) -> Watched:
    """Return that `write_dynamic` needs to know no range.

    Raises:
        NothingToDo: there is no product with constant weights.
    """
    _require(chosen)
    return Watched(())


def write_dynamic(calibrated: Calibrated, target: Path) -> QuantizedFacts:
    """Write products with int8 weights per channel, and with inputs rounded to uint8 as they come.

    Args:
        calibrated: is not changed.
        target: the file to write.

    Raises:
        NothingToDo: there is no product with constant weights, or the file that was made does not
            follow the float file.
    """
    layers = _require(calibrated)
    quantized = strip(insert_dynamic(calibrated.model, layers))
    check(quantized, f"the dynamic INT8 form of {calibrated.name}")
    answers = FloatAnswers(calibrated.model, calibrated.judged, name=calibrated.name)
    check_follows(quantized, answers, form="dynamic INT8")
    save_onnx(quantized, target)
    others = {n: "a convolution" for n in calibrated.choice.layers if n not in layers}
    return QuantizedFacts(
        kind=calibrated.choice.kind,
        activations="uint8 by call",
        weights="int8",
        samples=calibrated.samples,
        layers=len(layers),
        left={**calibrated.choice.left, **others},
    )


def _require(chosen: Chosen) -> dict[str, Semantics]:
    nodes = {node.name: node for node in chosen.model.graph.node}
    layers = {
        name: layer
        for name, layer in chosen.choice.layers.items()
        if nodes[name].op_type == "MatMul"
        or (nodes[name].op_type == "Gemm" and not _attribute(nodes[name], "transA"))
    }
    if not layers:
        raise NothingToDo(
            f"{chosen.name} has no MatMul or Gemm with constant float32 weights; int8-dynamic is "
            "for transformers and other networks of linear layers"
        )
    return layers


def _attribute(node: NodeProto, name: str) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), 0)


def insert_dynamic(model: ModelProto, layers: Mapping[str, Semantics]) -> ModelProto:
    """Return the graph with its layers on integers; `model` is not changed.

    Args:
        model: every node has its own name.
        layers: MatMul and Gemm nodes of it, and what they compute.
    """
    draft = Draft(model)
    rounded: dict[str, tuple[str, str, str]] = {}  # tensor to its uint8 form, scale, zero point

    def change(node: NodeProto) -> list[NodeProto]:
        layer = layers.get(node.name)
        if layer is None:
            return [node]
        made: list[NodeProto] = []
        if layer.data not in rounded:
            names = tuple(draft.new(f"{layer.data}_{part}") for part in ("u8", "scale", "zero"))
            rounded[layer.data] = (names[0], names[1], names[2])
            made.append(draft.make("DynamicQuantizeLinear", [layer.data], names))
        return [*made, *_make_product(draft, node, layer, rounded[layer.data])]

    return draft.rewrite(change)


def _make_product(
    draft: Draft, node: NodeProto, layer: Semantics, data: tuple[str, str, str]
) -> list[NodeProto]:
    """Return the nodes for (data * integers) * (scale of data * scale of weight) + bias."""
    weight = numpy_helper.to_array(draft.stored[layer.weight]) * layer.factor
    scale = find_weight_scale(weight, layer.axis, np.float32(1), None, step=0.0, pairwise=True)
    assert not isinstance(scale, str)  # only a bias could be refused
    integers = round_weight(weight, layer.axis, scale, pairwise=True)
    whole = draft.add_constant(integers if layer.axis == 1 else integers.T, f"{layer.weight}_int8")
    zero = draft.add_constant(np.zeros((), np.int8), "zero")
    final = node.output[0]
    sums, floats = draft.new(f"{final}_int32"), draft.new(f"{final}_float")
    both = draft.new(f"{final}_scale")
    scaled = final if layer.bias is None else draft.new(f"{final}_scaled")
    own = draft.add_constant(scale, f"{layer.weight}_scale")
    nodes = [
        draft.make("MatMulInteger", [data[0], whole, data[2], zero], [sums]),
        draft.make("Cast", [sums], [floats], to=TensorProto.FLOAT),
        draft.make("Mul", [data[1], own], [both]),
        draft.make("Mul", [floats, both], [scaled]),
    ]
    if layer.bias is not None:
        bias = draft.add_constant(layer.bias, f"{layer.weight}_bias")
        nodes.append(draft.make("Add", [scaled, bias], [final]))
    return nodes

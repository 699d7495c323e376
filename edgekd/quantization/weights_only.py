"""The variants `int8-weights` and `int4`: large linear layers and embeddings with small weights.

Activations stay float32, so no range is needed and nothing overflows. ONNX Runtime fuses a
DequantizeLinear of constants and the MatMul behind it to one kernel, MatMulNBits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekd.errors import NothingToDo, one_line
from edgekd.exporters.onnx_files import check, save_onnx
from edgekd.exporters.shapes import opset_of
from edgekd.exporters.strip import strip
from edgekd.quantization.calibrated import Calibrated, Chosen, Watched
from edgekd.quantization.graph_draft import Draft
from edgekd.quantization.layer_semantics import Semantics, read_layer
from edgekd.quantization.node_selection import find_readers
from edgekd.quantization.proof import FloatAnswers, check_follows
from edgekd.quantization.quantized import QuantizedFacts
from edgekd.quantization.scales import find_weight_scale, round_weight
from edgekd.quantization.weights_fusion import (
    NOT_FUSED,
    clip_with_maximum,
    find_clips,
    find_dequantized,
)

BLOCK = 32
"""Weights that share a scale in int4, along the axis that is summed over."""
_LEAST = 1024
"""Elements of a weight: smaller ones hardly count in a file."""
_OPSET = 21
"""From here on DequantizeLinear reads int4, in blocks."""
_INT4 = onnx.helper.tensor_dtype_to_np_dtype(TensorProto.INT4)
_CANDIDATES = (-8.0, 7.0, 7.4, 7.8, 8.3)
"""By what the greatest weight of a block is divided for its scale: one that uses -8 too, one that
clips nothing, and some that clip a little for finer steps. The least error decides."""


@dataclass(frozen=True)
class _Found:
    """What of a graph gets small weights, by name of the node."""

    layers: Mapping[str, Semantics]
    tables: Mapping[str, str]
    """Gather nodes, and the table of embeddings that each reads."""
    left: Mapping[str, str]
    clips: frozenset[str] = frozenset()
    """Relu and Clip nodes that would keep layers from being fused."""


def watch_weights(chosen: Chosen) -> Watched:
    """Return that no range is needed.

    Raises:
        NothingToDo: there is no large linear layer and no table of embeddings.
    """
    _require(chosen.model, chosen.name)
    return Watched(())


def write_weights(calibrated: Calibrated, target: Path, *, bits: int) -> QuantizedFacts:
    """Write large linear layers with int8 weights per channel or int4 in blocks; tables in int8.

    Args:
        calibrated: is not changed.
        target: the file to write.
        bits: 8, or 4, for which the operator set is raised to 21.

    Raises:
        NothingToDo: there is nothing to quantize, the operator set cannot be raised, or the file
            that was made does not follow the float file.
    """
    name = calibrated.name
    model = calibrated.model if bits == 8 else _raise_opset(calibrated.model, name)
    found, whole = _insert_fused(model, _require(model, name), bits=bits, name=name)
    quantized = strip(whole)
    check(quantized, f"the form of {name} with int{bits} weights")
    answers = FloatAnswers(calibrated.model, calibrated.judged, name=name)
    check_follows(quantized, answers, form=f"int{bits} weights")
    save_onnx(quantized, target)
    return QuantizedFacts(
        kind=calibrated.choice.kind,
        activations="float32",
        weights=f"int{bits}",
        samples=calibrated.samples,
        layers=len(found.layers) + len(found.tables),
        left=found.left,
    )


def _insert_fused(
    model: ModelProto, found: _Found, *, bits: int, name: str
) -> tuple[_Found, ModelProto]:
    """Give those layers small weights that ONNX Runtime computes without dequantizing them."""
    while True:
        quantized, weights = insert_weights(model, found, bits=bits)
        whole = find_dequantized(quantized, weights.values())
        slow = {node for node, weight in weights.items() if weight in whole}
        if not slow:
            return found, quantized
        layers = {node: layer for node, layer in found.layers.items() if node not in slow}
        found = replace(found, layers=layers, left={**found.left, **dict.fromkeys(slow, NOT_FUSED)})
        if not layers and not found.tables:
            raise NothingToDo(
                f"{name}: none of its large layers gets faster or smaller: {NOT_FUSED}"
            )


def _raise_opset(model: ModelProto, name: str) -> ModelProto:
    if opset_of(model) < _OPSET:
        try:
            model = onnx.version_converter.convert_version(model, _OPSET)
        except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
            raise NothingToDo(
                f"int4 needs operator set {_OPSET}, and {name} cannot be raised to it "
                f"({one_line(error)[:200]}); export it with that set, or take int8-weights"
            ) from error
    model.ir_version = max(model.ir_version, 10)  # what int4 came with
    return model


def _require(model: ModelProto, name: str) -> _Found:
    constants, readers = {t.name: t for t in model.graph.initializer}, find_readers(model)
    layers: dict[str, Semantics] = {}
    tables: dict[str, str] = {}
    left: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Gemm") and not node.domain:
            found = read_layer(node, constants, readers)
            turned = any(a.name == "transA" and a.i for a in node.attribute)
            found = "its data is transposed" if turned else found
            if isinstance(found, str):
                left[node.name] = found
            elif _count(constants[found.weight]) >= _LEAST:
                layers[node.name] = found
        elif node.op_type == "Gather" and not node.domain and _reads_table(node, constants):
            tables[node.name] = node.input[0]
    if not layers and not tables:
        raise NothingToDo(
            f"{name} has no MatMul or Gemm and no table of embeddings with {_LEAST:,} constant "
            "float32 weights or more: there is nothing that small weights would make smaller"
        )
    nodes = [node for node in model.graph.node if node.name in layers]
    return _Found(layers, tables, left, frozenset(find_clips(nodes, readers, constants)))


def _count(tensor: TensorProto) -> int:
    return int(np.prod(tensor.dims))


def _reads_table(node: NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    table = constants.get(node.input[0])
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    return (
        table is not None
        and table.data_type == TensorProto.FLOAT
        and len(table.dims) == 2
        and axis in (0, -2)
        and _count(table) >= _LEAST
        and node.input[1] not in constants
        and bool(np.isfinite(numpy_helper.to_array(table)).all())
    )


def insert_weights(
    model: ModelProto, found: _Found, *, bits: int
) -> tuple[ModelProto, dict[str, str]]:
    """Return the graph with small weights, and by layer the integers that it reads.

    `model` is not changed.
    """
    draft = Draft(model)
    weights: dict[str, str] = {}

    def change(node: NodeProto) -> list[NodeProto]:
        if node.name in found.tables:
            return _read_rows(draft, node)
        if node.name in found.layers:
            nodes = _multiply(draft, node, found.layers[node.name], bits=bits)
            weights[node.name] = nodes[0].input[0]
            return nodes
        return clip_with_maximum(draft, node) if node.name in found.clips else [node]

    return draft.rewrite(change), weights


def _read_rows(draft: Draft, node: NodeProto) -> list[NodeProto]:
    """Return nodes that take integers and scales of rows: the whole table is never dequantized."""
    name, final = node.input[0], node.output[0]
    table = numpy_helper.to_array(draft.stored[name])
    scale = find_weight_scale(table, 0, np.float32(1), None, step=0.0, pairwise=False)
    assert not isinstance(scale, str)  # only a bias could be refused
    whole = draft.add_constant(round_weight(table, 0, scale, pairwise=False), f"{name}_int8")
    scales = draft.add_constant(scale.reshape(-1, 1), f"{name}_scale")
    parts = [draft.new(f"{final}_{part}") for part in ("int8", "scale", "float")]
    return [
        draft.make("Gather", [whole, node.input[1]], [parts[0]]),
        draft.make("Gather", [scales, node.input[1]], [parts[1]]),
        draft.make("Cast", [parts[0]], [parts[2]], to=TensorProto.FLOAT),
        draft.make("Mul", [parts[2], parts[1]], [final]),
    ]


def _multiply(draft: Draft, node: NodeProto, layer: Semantics, *, bits: int) -> list[NodeProto]:
    """Return a MatMul of dequantized weights, and the sum with the bias."""
    weight = numpy_helper.to_array(draft.stored[layer.weight]) * layer.factor
    weight = weight if layer.axis == 1 else weight.T
    attributes: dict[str, int] = {"axis": 1}
    if bits == 4 and len(weight) % BLOCK == 0:
        whole, scale = round_blocks(weight)
        attributes = {"axis": 0, "block_size": BLOCK}
    else:
        found = find_weight_scale(weight, 1, np.float32(1), None, step=0.0, pairwise=False)
        assert not isinstance(found, str)  # only a bias could be refused
        whole, scale = round_weight(weight, 1, found, pairwise=False), found
    # ONNX Runtime fuses only a weight and scales that nothing else reads.
    kept, scales = draft.new(f"{layer.weight}_int{bits}"), draft.new(f"{layer.weight}_scale")
    for array, stored in ((whole, kept), (scale, scales)):
        draft.add_tensor(numpy_helper.from_array(np.ascontiguousarray(array), stored))
    final = node.output[0]
    floats = draft.new(f"{final}_weight")
    product = final if layer.bias is None else draft.new(f"{final}_product")
    nodes = [
        draft.make("DequantizeLinear", [kept, scales], [floats], **attributes),
        draft.make("MatMul", [layer.data, floats], [product]),
    ]
    if layer.bias is not None:
        bias = draft.add_constant(layer.bias, f"{layer.weight}_bias")
        nodes.append(draft.make("Add", [product, bias], [final]))
    return nodes


def round_blocks(weight: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return a weight in int4, -8..7, and its scales, with the least squared error.

    Args:
        weight: [inputs, outputs], with a multiple of `BLOCK` inputs.

    Returns:
        [inputs, outputs] in int4, and [inputs / BLOCK, outputs].
    """
    blocks = weight.reshape(-1, BLOCK, weight.shape[1])
    place = np.abs(blocks).argmax(axis=1, keepdims=True)
    most = np.take_along_axis(blocks, place, axis=1)
    best = np.full(most.shape, np.inf)
    scale, whole = np.ones_like(most), np.zeros_like(blocks)
    for divisor in _CANDIDATES:
        trial = most / divisor if divisor < 0 else np.abs(most) / divisor
        trial[trial == 0] = 1
        rounded = np.clip(np.rint(blocks / trial), -8, 7)
        error = np.square(rounded * trial - blocks).sum(axis=1, keepdims=True, dtype=np.float64)
        better = error < best
        best = np.where(better, error, best)
        scale, whole = np.where(better, trial, scale), np.where(better, rounded, whole)
    return whole.reshape(weight.shape).astype(_INT4), scale[:, 0].astype(np.float32)

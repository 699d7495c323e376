"""Measure what rounding does to each layer by itself: mean error, and signal to noise.

Beside each float layer runs a twin that reads the same activation rounded and has the rounded
weight. All twins are in one graph, so that one pass over a few samples measures all layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgekd.exporters.ort_session import open_session, run
from edgekd.quantization.names import NewNames
from edgekd.quantization.plan import Layer, Plan
from edgekd.quantization.proof import Samples
from edgekd.quantization.scales import round_layer


@dataclass(frozen=True)
class LayerError:
    """The error of the outputs of a layer where it alone is rounded, over samples."""

    mean: NDArray[np.float64]
    """Float minus rounded, [channels]."""
    noise: float
    """Energy of the error by that of the outputs."""


def measure_layers(
    model: ModelProto, plan: Plan, samples: Samples, *, name: str
) -> dict[str, LayerError]:
    """Return the error of each layer of a plan by name of the node.

    Args:
        model: the float graph of the plan.
        plan: layers that read pixels are left out: these are on a grid already.
        samples: one at a time, at least one.
        name: of the file, for messages.
    """
    nodes = [
        node
        for node in model.graph.node
        if node.name in plan.layers and plan.layers[node.name].pixels is None
    ]
    if not nodes:
        return {}
    watched, outputs = _with_twins(model, plan, nodes)
    session = open_session(bytes(watched.SerializeToString()), name=name)
    sums = [_Sum() for _ in nodes]
    for sample in samples:
        found = iter(run(session, outputs, dict(sample), name=name))
        for node, total, want, got in zip(nodes, sums, found, found, strict=False):
            total.add(want, got, axis=channel_axis(node, want.ndim))
    return {node.name: total.error() for node, total in zip(nodes, sums, strict=True)}


def channel_axis(node: NodeProto, rank: int) -> int:
    """Return the axis of the channels in what a layer gives."""
    return 1 if node.op_type == "Conv" else rank - 1


def watch(model: ModelProto, names: Sequence[str]) -> bytes:
    """Return a model, serialized, whose outputs are float tensors of its graph."""
    watched = ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    return bytes(watched.SerializeToString())


class _Sum:
    """Sums of one layer over samples."""

    def __init__(self) -> None:
        self._errors: Any = 0.0
        self._places = 0
        self._noise = self._signal = 0.0

    def add(self, want: NDArray[Any], got: NDArray[Any], *, axis: int) -> None:
        """Add the float and the rounded output of one sample."""
        error = np.moveaxis(want - got, axis, -1).reshape(-1, want.shape[axis])
        self._errors = self._errors + error.sum(axis=0, dtype=np.float64)
        self._places += len(error)
        self._noise += float(np.square(error, dtype=np.float64).sum())
        self._signal += float(np.square(want, dtype=np.float64).sum())

    def error(self) -> LayerError:
        """Return the mean over all places; nothing was wrong where there are none."""
        noise = self._noise / self._signal if self._signal else 0.0
        return LayerError(self._errors / max(1, self._places), noise)


def _with_twins(
    model: ModelProto, plan: Plan, nodes: Sequence[NodeProto]
) -> tuple[ModelProto, list[str]]:
    """Return a graph with twins of layers, and per layer two outputs: its own and its twin's."""
    wide = ModelProto()
    wide.CopyFrom(model)
    graph, names = wide.graph, NewNames(model)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    outputs: list[str] = []
    rounded: dict[str, str] = {}
    for node in nodes:
        layer = plan.layers[node.name]
        if layer.data not in rounded:
            made = list(_rounding(layer.data, plan, names))
            graph.node.extend(one for one in made if isinstance(one, NodeProto))
            graph.initializer.extend(one for one in made if isinstance(one, TensorProto))
            rounded[layer.data] = graph.node[-1].output[0]
        weight = numpy_helper.from_array(
            _dequantized(layer, numpy_helper.to_array(weights[layer.weight])), names.new("weight")
        )
        graph.initializer.append(weight)
        twin = NodeProto()
        twin.CopyFrom(node)
        twin.name, twin.output[0] = names.new("twin"), names.new("twin_output")
        twin.input[0], twin.input[1] = rounded[layer.data], weight.name
        kept = [one for one in node.attribute if one.name != "alpha"]  # it is in the weight
        del twin.attribute[:]
        twin.attribute.extend(kept)
        graph.node.append(twin)
        outputs += [node.output[0], twin.output[0]]
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(one, TensorProto.FLOAT, None) for one in outputs
    )
    return wide, outputs


def _rounding(name: str, plan: Plan, names: NewNames) -> Iterator[NodeProto | TensorProto]:
    """Yield the nodes and constants that round an activation; its last node gives the result."""
    grid = plan.tensors[name]
    scale = numpy_helper.from_array(np.array(grid.scale, np.float32), names.new("scale"))
    zero = numpy_helper.from_array(np.array(grid.zero, grid.dtype), names.new("zero"))
    whole, back = names.new("whole"), names.new("rounded")
    yield from (scale, zero)
    inputs = [scale.name, zero.name]
    yield onnx.helper.make_node("QuantizeLinear", [name, *inputs], [whole], names.new("q"))
    yield onnx.helper.make_node("DequantizeLinear", [whole, *inputs], [back], names.new("dq"))


def _dequantized(layer: Layer, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a layer multiplies by in INT8."""
    shape = [1] * weight.ndim
    shape[layer.axis] = -1
    whole = round_layer(layer, weight).astype(np.float64)
    result: NDArray[np.float32] = (whole * layer.scale.reshape(shape)).astype(np.float32)
    return result

"""The interval in which each number of a quantized graph must lie, as the scales of its plan imply.

A rounded activation lies within half a step of what was rounded, clipped to its grid; a rounded
weight within half of its scale, a bias within half of data times weight. Every operator takes the
intervals of its inputs to an interval of its output: operators that never fall as an input grows by
their own ends, products by |ab - mn| <= |m|s + r|n| + rs for a = m +- r and b = n +- s, others by
the greatest slope. An operator of which no slope is known gives no bound, unless its inputs are
exact. The float answer lies in the same interval if the grids cover its values, so that both differ
by no more than the width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgekd.exporters.onnx_files import messages
from edgekd.exporters.shapes import opset_of
from edgekd.quantization.plan import Grid, Plan
from tests.edgekd.quantization.laws.draft import run_node

Array = NDArray[Any]
Interval = tuple[Array, Array]

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "Mul")
_RISING = {
    *("Relu", "Clip", "Sigmoid", "HardSigmoid", "Tanh", "Elu", "Softplus", "Identity", "Dropout"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Reshape", "Transpose"),
    *("Flatten", "Squeeze", "Unsqueeze", "Split", "Slice", "Pad", "Gather", "Expand", "Upsample"),
    *("Add", "Max", "Min", "Concat", "ReduceMean", "ReduceMax", "ReduceSum"),
}
_SLOPE = {"HardSwish": 1.5, "Gelu": 1.2, "Neg": 1.0, "Abs": 1.0}
_FLOAT = 4e-6
"""Relative error of a float32 kernel, per operator."""


@dataclass
class Bounds:
    """Intervals of all tensors of a float graph, as a plan rounds them."""

    model: ModelProto
    plan: Plan
    step: float = 0.5
    """Of a grid that a rounding may err by."""
    read: dict[str, Interval] = field(default_factory=dict)
    """What the nodes read that are not planned."""
    rounded: dict[str, Interval] = field(default_factory=dict)
    """What the planned nodes read."""

    def follow(self, feeds: Mapping[str, Array]) -> dict[str, Interval]:
        """Return the interval of each tensor of the graph, from those of its inputs."""
        constants = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        self.read = {name: (a, a) for name, a in [*constants.items(), *feeds.items()]}
        for name, grid in self.plan.constants.items():
            self.rounded[name] = _rounded(self.read[name], grid, self.step)
        for name in feeds:
            self._settle(name, self.read[name])
        for node in self.model.graph.node:
            rounds = self.plan.reads.get(node.name, ())
            given = {
                name: self.rounded[name] if name in rounds else self.read[name]
                for name in [*node.input, *_captured(node)]
                if name
            }
            if node.name in self.plan.layers:
                found = self._layer(node, given)
            else:
                found = self._operator(node, given)
            for name, interval in zip([n for n in node.output if n], found, strict=True):
                self._settle(name, interval)
        return self.read

    def _settle(self, name: str, interval: Interval) -> None:
        self.read[name] = interval
        if name in self.plan.tensors:
            self.rounded[name] = _rounded(interval, self.plan.tensors[name], self.step)
            if name in self.plan.rounded:
                self.read[name] = self.rounded[name]

    def _layer(self, node: NodeProto, given: dict[str, Interval]) -> list[Interval]:
        layer = self.plan.layers[node.name]
        weight = given[layer.weight][0]
        shape = [1] * weight.ndim
        shape[layer.axis] = -1
        scaled = layer.scale.reshape(shape)
        half = scaled / 2 / abs(float(layer.factor)) if layer.factor else np.zeros_like(scaled)
        half = np.minimum(half, np.abs(weight) + half * (weight != 0)).astype(np.float32)
        given = {**given, layer.weight: (weight - half, weight + half)}
        ((low, high),) = self._operator(node, given)
        if layer.bias is not None and layer.rounds_bias:
            channels = [1] * low.ndim
            channels[1 if node.op_type == "Conv" else -1] = -1
            error = (self.plan.tensors[layer.data].scale * layer.scale / 2).reshape(channels)
            low, high = low - error, high + error
        return [(low, high)]

    def _operator(self, node: NodeProto, given: dict[str, Interval]) -> list[Interval]:
        opset = opset_of(self.model)

        def run(arrays: Mapping[str, Array], changed: NodeProto = node) -> list[Array]:
            found = run_node(changed, {n: np.asarray(a) for n, a in arrays.items()}, opset)
            assert found is not None, changed
            return found

        middle, radius = _middles(given)
        np.seterr(invalid="ignore", over="ignore")
        at = run({n: low for n, (low, _) in given.items()} if _exact(given) else middle)
        if _exact(given):
            return [_widened((a, a), np.abs(a)) for a in at]
        if node.op_type in _PRODUCTS:
            sizes = {n: np.abs(a) for n, a in middle.items()}
            most = run({n: a + radius[n] for n, a in sizes.items()}, _positive(node))[0]
            error = most - run(sizes, _positive(node))[0]
            return [_widened((at[0] - error, at[0] + error), most)]
        if node.op_type == "BatchNormalization":
            data, scale, _, _, variance = node.input
            bare = NodeProto()
            bare.CopyFrom(node)
            bare.input[2:4] = ["no bias", "no mean"]
            none = np.zeros_like(middle[scale])
            sizes = {data: radius[data], scale: np.abs(middle[scale]), "no bias": none}
            error = run({**sizes, "no mean": none, variance: middle[variance]}, bare)[0]
            return [_widened((at[0] - error, at[0] + error), np.abs(at[0]) + error)]
        if _rises(node):
            ends = [run({n: end[i] for n, end in given.items()}) for i in (0, 1)]
            pairs = [(np.minimum(a, b), np.maximum(a, b)) for a, b in zip(*ends, strict=True)]
            return [_widened(p, np.maximum(np.abs(p[0]), np.abs(p[1]))) for p in pairs]
        error = _error(node, middle, radius)
        return [_widened((a - error, a + error), np.abs(a) + error) for a in at]


def _captured(node: NodeProto) -> list[str]:
    inner = [n for a in node.attribute if a.HasField("g") for n in messages(a.g, NodeProto)]
    made = {name for n in inner for name in n.output}
    return [name for n in inner for name in n.input if name not in made]


def _exact(given: Mapping[str, Interval]) -> bool:
    return all(np.array_equal(low, high) for low, high in given.values())


def _middles(given: Mapping[str, Interval]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return the middle and the radius of each interval; what is not float is exact."""
    middle: dict[str, Array] = {}
    radius: dict[str, Array] = {}
    for name, (low, high) in given.items():
        if low.dtype.kind != "f":
            middle[name], radius[name] = low, np.zeros((), low.dtype)
            continue
        with np.errstate(invalid="ignore"):
            middle[name] = ((low.astype(np.float64) + high) / 2).astype(np.float32)
            radius[name] = np.where(low == high, 0, (high.astype(np.float64) - low) / 2)
        radius[name] = radius[name].astype(np.float32)
    return middle, radius


def _positive(node: NodeProto) -> NodeProto:
    """Return the node with the sizes of its factors."""
    copy = NodeProto()
    copy.CopyFrom(node)
    for attribute in copy.attribute:
        if attribute.name in ("alpha", "beta"):
            attribute.f = abs(attribute.f)
    return copy


def _rises(node: NodeProto) -> bool:
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "LeakyRelu":
        return bool(given.get("alpha", 0.01) >= 0)
    if node.op_type == "Resize":
        return bool(given.get("mode", b"nearest") != b"cubic")
    return node.op_type in _RISING


def _error(node: NodeProto, middle: Mapping[str, Array], radius: Mapping[str, Array]) -> Any:
    """Return what an operator may err by around the middle, infinite if that is not known."""
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    data = radius[node.input[0]]
    match node.op_type:
        case "LeakyRelu":
            return data * max(1.0, abs(given.get("alpha", 0.01)))
        case "PRelu":
            return data * max(1.0, float(np.abs(middle[node.input[1]]).max(initial=0)))
        case "Div" if not radius[node.input[1]].any() and middle[node.input[1]].all():
            return data / np.abs(middle[node.input[1]])
        case "If":
            return sum(radius[name] for name in set(_captured(node)))
        case "Sub":
            return radius[node.input[0]] + radius[node.input[1]]
        case "Softmax":  # the sum of the sizes of a row of its derivative is 2p(1 - p)
            return data.max(initial=0) / 2
        case "Resize":  # the sizes of the cubic weights of each axis sum up to 1.375
            return data.max(initial=0) * 1.4**2
        case _:
            return data * _SLOPE[node.op_type] if node.op_type in _SLOPE else np.inf


def _rounded(interval: Interval, grid: Grid, step: float) -> Interval:
    info = np.iinfo(grid.dtype)
    least, most = (float(grid.scale) * (end - grid.zero) for end in (info.min, info.max))
    error = step * float(grid.scale)
    low, high = (np.clip(end.astype(np.float64), least, most) for end in interval)
    low, high = low - error, high + error  # the float value may lie half a step off the grid
    return _widened((low.astype(np.float32), high.astype(np.float32)), np.maximum(abs(low), high))


def _widened(interval: Interval, size: Array) -> Interval:
    """Return the interval with what a float kernel may err by, of terms of some size."""
    low, high = interval
    if low.dtype.kind != "f":
        return interval
    error = np.where(np.isfinite(size), size, 0) * _FLOAT
    if low.size and error.size:
        error = error + _FLOAT * 0.1 * np.max(error / _FLOAT, initial=0)
    with np.errstate(over="ignore"):
        return (low - error).astype(low.dtype), (high + error).astype(high.dtype)

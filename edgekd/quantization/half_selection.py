"""Decide which nodes of a float graph can compute in float16.

float16 ends at 65,504, and below 6e-8 it has only zero. A node stays float32 where what it reads or
gives came near the end on calibration samples, where what it computes in between could (squares of
a normalization, sums, exponentials), or where small values matter that float16 does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekd.benchmarks.operators import SAME_VALUES
from edgekd.exporters.shapes import opset_of

LARGEST = 65504.0
_ROOM = 4.0
"""Times that other samples may exceed the calibration samples: two of the 16 powers of two."""
_LEAST = 2.0**-14
"""The least normal number: a constant below it, such as an epsilon, would lose its digits."""
_LONGEST = 4096
"""The length of an axis that is free, in sums over it."""
_EXPONENT = 8.0
"""exp(8) is 2,981; exp(11.1) is beyond float16."""
_HEAVY = {
    *("Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "Attention", "LSTM", "GRU", "RNN"),
}
"""They gain by float16 even where what is around them stays float32."""
_STAYS = {
    *("Cast", "CastLike", "Shape", "Size", "Range", "ConstantOfShape", "EyeLike", "OneHot"),
    *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli"),
    *("Multinomial", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "IsNaN", "IsInf"),
    *("ArgMax", "ArgMin", "TopK", "Unique", "NonZero", "NonMaxSuppression", "CumSum", "Floor"),
    *("Ceil", "Round", "Mod", "If", "Loop", "Scan", "GridSample", "RoiAlign", "StringNormalizer"),
}
"""Types, indices and comparisons: rounding before them changes what is found, not how exactly."""
_FOLLOWS = SAME_VALUES | {"Identity", "Slice", "Split", "Dropout", "Expand", "Tile", "Pad"}
_SQUARES = {
    *("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization"),
    *("LpNormalization", "MeanVarianceNormalization", "ReduceL2", "ReduceSumSquare"),
}
_SUMS = {"ReduceSum", "ReduceMean", "ReduceL1", "GlobalAveragePool", "AveragePool"}
_EXPONENTIALS = {"Exp", "Sinh", "Cosh", "Softplus", "ReduceLogSumExp"}
_SMALL = {"Log", "Sqrt", "Reciprocal"}
_VANISH = "its small values would vanish in float16"


@dataclass(frozen=True)
class HalfChoice:
    """The nodes that compute in float16, and why others do not."""

    inputs: Mapping[str, tuple[int, ...]]
    """Node to those of its inputs that become float16, in the order of the graph."""
    outputs: Mapping[str, tuple[int, ...]]
    """Likewise its outputs."""
    left: Mapping[str, str]
    """Nodes that could by their types, and stay float32: name, reason."""
    heavy: frozenset[str]
    """Those of `inputs` that multiply: layers with weights and products of activations."""


def list_floats(model: ModelProto) -> list[str]:
    """Return the float32 tensors of a graph that are not constants, outside of subgraphs."""
    types = read_types(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [value.name for value in model.graph.input]
    names += [name for node in model.graph.node for name in node.output]
    return [n for n in names if types.get(n) == TensorProto.FLOAT and n not in constants]


def read_types(model: ModelProto) -> dict[str, int]:
    """Return the element types of the tensors of a graph, as far as they are known."""
    values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
    found = {v.name: int(v.type.tensor_type.elem_type) for v in values}
    return {name: kind for name, kind in found.items() if kind} | {
        tensor.name: tensor.data_type for tensor in model.graph.initializer
    }


def choose_half(model: ModelProto, magnitude: Callable[[str], float]) -> HalfChoice:
    """Choose the nodes of a graph that compute in float16.

    Args:
        model: prepared; every node has its own name.
        magnitude: returns the greatest magnitude of each of `list_floats`.
    """
    judge = _Judge(model, magnitude)
    inputs: dict[str, tuple[int, ...]] = {}
    outputs: dict[str, tuple[int, ...]] = {}
    left: dict[str, str] = {}
    heavy: set[str] = set()
    floats: set[str] = set()  # tensors that float32 nodes give
    for node in model.graph.node:
        places = judge.find_places(node)
        reason = judge.find_reason(node, places[0]) if places else ""
        if reason:
            left[node.name] = reason
        data = [node.input[i] for i in places[0]] if places else []
        read = [name for name in data if name not in judge.constants]
        if node.op_type in _FOLLOWS:
            read = read[:1]
        alone = node.op_type not in _HEAVY and bool(read) and floats.issuperset(read)
        if not places or reason or alone:
            floats.update(node.output)
            continue
        inputs[node.name], outputs[node.name] = places
        heavy |= {node.name} if node.op_type in _HEAVY else set()
    return HalfChoice(inputs, outputs, left, frozenset(heavy))


class _Judge:
    """Judges the nodes of one graph."""

    def __init__(self, model: ModelProto, magnitude: Callable[[str], float]) -> None:
        self.constants = {t.name: t for t in model.graph.initializer}
        self._types = read_types(model)
        self._opset = opset_of(model)
        self._magnitude = magnitude
        values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
        self._shapes = {
            v.name: [d.dim_value for d in v.type.tensor_type.shape.dim]
            for v in values
            if v.type.tensor_type.HasField("shape")
        }

    def find_places(self, node: NodeProto) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """Return which inputs and outputs of a node become float16, or None if it cannot."""
        if node.domain not in ("", "ai.onnx") or node.op_type in _STAYS:
            return None
        try:
            schema = onnx.defs.get_schema(node.op_type, self._opset)
        except onnx.defs.SchemaError:
            return None
        allowed = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
        kinds = [
            schema.inputs[min(i, len(schema.inputs) - 1)].type_str for i in range(len(node.input))
        ]
        floats = [i for i, n in enumerate(node.input) if self._types.get(n) == TensorProto.FLOAT]
        if any(name and name not in self._types for name in node.input):
            return None
        halves = {kinds[i] for i in floats if "tensor(float16)" in allowed.get(kinds[i], ())}
        if not halves:
            return None
        results = [
            schema.outputs[min(i, len(schema.outputs) - 1)].type_str
            for i in range(len(node.output))
        ]
        return (
            tuple(i for i in floats if kinds[i] in halves),
            tuple(i for i, name in enumerate(node.output) if name and results[i] in halves),
        )

    def find_reason(self, node: NodeProto, places: Sequence[int]) -> str:
        """Return why a node that could compute in float16 must not, or ""."""
        reasons = self._reasons(node, [node.input[i] for i in places])
        return next((reason for reason in reasons if reason), "")

    def _reasons(self, node: NodeProto, read: Sequence[str]) -> Iterator[str]:
        for name in read:
            yield self._judge_constant(name) if name in self.constants else self._judge(name)
        for name in node.output:
            if self._types.get(name) == TensorProto.FLOAT:
                yield self._judge(name)
        if read[0] not in self.constants:
            yield self._judge_between(node, self._magnitude(read[0]))
        yield self._judge_small(node)

    def _judge(self, name: str) -> str:
        most = self._magnitude(name)
        if not np.isfinite(most):
            return f"{name!r} is NaN or infinite on a calibration sample"
        if most * _ROOM > LARGEST:
            return f"{name!r} reaches {most:,.0f}, and float16 ends at 65,504"
        return ""

    def _judge_constant(self, name: str) -> str:
        values = np.abs(numpy_helper.to_array(self.constants[name]))
        if values.size and not values.max() <= LARGEST:  # NaN is not
            return f"its constant {name!r} is beyond 65,504, where float16 ends"
        if values.size == 1 and 0 < values.item() < _LEAST:
            return f"its constant {values.item():g} would vanish in float16"
        return ""

    def _judge_between(self, node: NodeProto, most: float) -> str:
        if node.op_type in _SQUARES and (2 * most) ** 2 * _ROOM > LARGEST:
            return f"it squares values of up to {most:,.0f}, and float16 ends at 65,504"
        if node.op_type in _SUMS:
            count = self._count_summed(node)
            if most * count > LARGEST:
                return f"it sums {count:,} values of up to {most:,.3g}, and float16 ends at 65,504"
        if node.op_type in _EXPONENTIALS and most > _EXPONENT:
            return f"it takes the exponential of up to {most:,.0f}, and float16 ends at exp(11)"
        return ""

    def _count_summed(self, node: NodeProto) -> int:
        before = [n or _LONGEST for n in self._shapes.get(node.input[0], ())]
        if node.op_type == "AveragePool":
            return prod(next((a.ints for a in node.attribute if a.name == "kernel_shape"), ()))
        if node.op_type == "GlobalAveragePool":
            return prod(before[2:])
        axes = next((list(a.ints) for a in node.attribute if a.name == "axes"), None)
        if len(node.input) > 1 and node.input[1] in self.constants:
            axes = numpy_helper.to_array(self.constants[node.input[1]]).reshape(-1).tolist()
        if axes is None or not before:
            return prod(before) if before else _LONGEST
        return prod(before[axis] for axis in axes if -len(before) <= axis < len(before))

    def _judge_small(self, node: NodeProto) -> str:
        if node.op_type in _SMALL:
            return _VANISH
        if node.op_type == "Div" and node.input[1] not in self.constants:
            return _VANISH
        if node.op_type == "Pow":
            exponent = self.constants.get(node.input[1])
            if exponent is None or not (numpy_helper.to_array(exponent) >= 1).all():
                return _VANISH
        return ""

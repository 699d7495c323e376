"""An indexed view of an ONNX graph: who makes and reads a tensor, constants, shapes, Q/DQ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnx.inliner import inline_local_functions

from edgekd.benchmarks.operators import QDQ

Shape = tuple[int | None, ...]
"""Lengths of axes; None: not fixed."""

_KEEPS_WEIGHTS = (*QDQ, "Transpose", "Reshape", "Identity", "Cast")
"""What may stand between a constant and its layer. Float16 is cast for a CPU."""
_SMALL = 4096  # elements; weights are larger and steer no shape


@dataclass(frozen=True)
class Quantization:
    """What a QuantizeLinear or DequantizeLinear does."""

    node: NodeProto
    dtype: str
    """Of the integers: uint8, int8, int32, int4, ...; "" where the file does not tell."""
    scale: NDArray[Any] | None
    """None: it is computed by the graph."""
    zero: NDArray[Any] | None
    """Zeros where it is left out. None: it is computed by the graph."""
    axis: int | None
    """The axis that has scales of its own, as written; None: one scale for the tensor."""
    block: int
    """Values that share a scale along the axis; 0: all of it."""

    @property
    def signed(self) -> bool:
        return self.dtype == "int8"

    def same_grid(self, other: Quantization) -> bool:
        """Tell whether both have the same type, constant scale and zero point."""
        mine, others = (self.scale, self.zero), (other.scale, other.zero)
        return self.dtype == other.dtype and all(
            a is not None and b is not None and np.array_equal(np.ravel(a), np.ravel(b))
            for a, b in zip(mine, others, strict=True)
        )


class Graph:
    """One scope of a model: the main graph, or the body of an If, Loop or Scan.

    Names of the scopes around it are seen too, as ONNX has it.
    """

    def __init__(self, proto: GraphProto, model: ModelProto, outer: Graph | None = None) -> None:
        """Index a graph in one pass."""
        self.proto, self.model, self.outer = proto, model, outer
        self.constants: dict[str, TensorProto] = {t.name: t for t in proto.initializer}
        self.inputs = [v.name for v in proto.input if v.name not in self.constants]
        self.outputs = frozenset(v.name for v in proto.output)
        self.nodes: list[NodeProto] = list(proto.node)
        self.makers: dict[str, NodeProto] = {}
        self.readers: dict[str, list[NodeProto]] = {}
        self.bodies: list[Graph] = []
        for node in self.nodes:
            self._add(node)
        self._sees = {*self.constants, *self.inputs, *self.makers}
        for node in self.nodes:
            for body in node_bodies(node):
                inner = Graph(body, model, self)
                self.bodies.append(inner)
                for name in inner.reads_outside:
                    self.readers.setdefault(name, []).append(node)

    def _add(self, node: NodeProto) -> None:
        for name in dict.fromkeys(node.input):
            if name:
                self.readers.setdefault(name, []).append(node)
        for name in node.output:
            self.makers[name] = node
        if node.op_type == "Constant" and not node.domain:
            value = next((a for a in node.attribute if a.name == "value"), None)
            if value is not None:
                self.constants[node.output[0]] = value.t

    @property
    def reads_outside(self) -> list[str]:
        """Names that this scope, or one inside of it, reads from outside."""
        return [name for name in self.readers if name not in self._sees]

    def scopes(self) -> Iterator[Graph]:
        """Yield this graph and all inside of it."""
        yield self
        for body in self.bodies:
            yield from body.scopes()

    @cached_property
    def opset(self) -> int:
        """The version of the standard operators; 0: none is imported."""
        versions = [e.version for e in self.model.opset_import if e.domain in ("", "ai.onnx")]
        return int(versions[0]) if versions else 0

    def maker(self, name: str) -> NodeProto | None:
        """Return the node that makes a tensor, here or in a scope around."""
        node = self.makers.get(name)
        return node if node or self.outer is None else self.outer.maker(name)

    def constant(self, name: str) -> TensorProto | None:
        """Return a constant, from here or a scope around."""
        tensor = self.constants.get(name)
        hidden = tensor is None and name in self._sees
        return tensor if tensor or hidden or not self.outer else self.outer.constant(name)

    def array(self, name: str) -> NDArray[Any] | None:
        """Return the values of a constant; None: it is none, or its bytes cannot be read."""
        tensor = self.constant(name)
        if tensor is None:
            return None
        try:
            return onnx.numpy_helper.to_array(tensor)
        except (ValueError, TypeError, OSError):
            return None

    def quantization(self, node: NodeProto) -> Quantization:
        """Return what a QuantizeLinear or DequantizeLinear does."""
        scale = self.array(node.input[1])
        given = len(node.input) > 2 and node.input[2]
        zero = self.array(node.input[2]) if given else np.zeros(1)
        dims = self.dims(node.input[1])
        single = not dims or dims == (1,)  # a scalar, or written as a vector of one
        return Quantization(
            node,
            self._integers(node),
            scale,
            zero,
            None if single else int(attribute(node, "axis", 1)),
            int(attribute(node, "block_size", 0)),
        )

    def _integers(self, node: NodeProto) -> str:
        if len(node.input) > 2 and node.input[2]:
            return self.dtype(node.input[2])
        if node.op_type == "QuantizeLinear":
            kind = int(attribute(node, "output_dtype", 0))
            return _type_name(kind) if kind else "uint8"
        found = self.dtype(node.input[0])
        maker = self.maker(node.input[0])
        if not found and maker is not None and maker.op_type == "QuantizeLinear":
            return self._integers(maker)
        return found

    def dequantized(self, name: str) -> Quantization | None:
        """Return the DequantizeLinear that makes a tensor, if one does."""
        node = self.maker(name)
        found = node is not None and node.op_type == "DequantizeLinear"
        return self.quantization(node) if node is not None and found else None

    def rounded_constant(self, name: str) -> str | None:
        """Return the constant behind a tensor: itself, or behind Q, DQ, Transpose and the like."""
        for _ in range(8):
            if self.constant(name) is not None:
                return name
            node = self.maker(name)
            if node is None or node.op_type not in _KEEPS_WEIGHTS:
                return None
            name = node.input[0]
        return None

    def dtype(self, name: str) -> str:
        """Return the element type of a tensor; "" where it is not known."""
        tensor = self.constant(name)
        if tensor is not None:
            return _type_name(tensor.data_type)
        value = self._values.get(name)
        kind = value.type.tensor_type.elem_type if value is not None else 0
        if kind:
            return _type_name(kind)
        return self.outer.dtype(name) if self.outer else ""

    def dims(self, name: str) -> Shape | None:
        """Return the shape of a tensor; None: its rank is not known."""
        tensor = self.constant(name)
        if tensor is not None:
            return tuple(tensor.dims)
        value = self._values.get(name)
        if value is not None and value.type.tensor_type.HasField("shape"):
            return tuple(
                d.dim_value if d.HasField("dim_value") else None
                for d in value.type.tensor_type.shape.dim
            )
        return self.outer.dims(name) if self.outer else None

    @cached_property
    def _values(self) -> dict[str, Any]:
        proto = self._inferred if self.outer is None else self.proto
        return {v.name: v for v in [*proto.input, *proto.output, *proto.value_info]}

    @cached_property
    def _inferred(self) -> GraphProto:
        """The main graph with shapes, or without them where they contradict each other."""
        light = ModelProto()
        light.CopyFrom(self.model)
        for tensor in light.graph.initializer:
            if np.prod(tensor.dims, dtype=np.int64) > _SMALL:
                for part in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
                    tensor.ClearField(part)
        try:
            return onnx.shape_inference.infer_shapes(light).graph
        except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
            return self.proto


def index(model: ModelProto) -> Graph:
    """Return the view of a model, its own functions written out."""
    if model.functions:
        model = inline_local_functions(model)
    return Graph(model.graph, model)


def label(node: NodeProto) -> str:
    """Return a name for a node: its own, or what it makes."""
    return node.name or f"{node.op_type} -> {next(iter(node.output), '')}"


def attribute(node: NodeProto, name: str, default: Any) -> Any:
    """Return the value of an attribute, or `default`."""
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def node_bodies(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs inside of a node."""
    for a in node.attribute:
        if a.type == AttributeProto.GRAPH:
            yield a.g
        elif a.type == AttributeProto.GRAPHS:
            yield from a.graphs


def is_zero(values: NDArray[Any] | None) -> bool:
    """Tell whether zero points are known and all are 0."""
    return values is not None and not np.any(values.astype(np.float64))


def _type_name(kind: int) -> str:
    try:
        return str(TensorProto.DataType.Name(kind)).lower()
    except ValueError:
        return ""


def names(nodes: Sequence[NodeProto]) -> tuple[str, ...]:
    """Return the labels of nodes."""
    return tuple(label(node) for node in nodes)

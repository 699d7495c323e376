"""Tiny quantized graphs, node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

ZEROS = {"uint8": 128, "int8": 0, "uint16": 32768, "int16": 0, "int32": 0}


class Small:
    """A graph that grows; each method returns the name of what it adds."""

    def __init__(self, *, opset: int = 17, shape: Sequence[Any] = (1, 4, 8, 8)) -> None:
        self.opset, self.rng = opset, np.random.default_rng(0)
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.inputs: list[ValueInfoProto] = []
        self.x = self.input("x", shape)

    def input(self, name: str, shape: Sequence[Any], kind: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        return name

    def constant(self, name: str, values: Any, dtype: str = "float32") -> str:
        name = self._new(name)
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def op(self, kind: str, *inputs: str, name: str = "", outputs: int = 1, **options: Any) -> str:
        """Add a node; it is named like its first output without the last letter."""
        first = self._new(name or kind.lower())
        made = [f"{first}:{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, made, name=first, **options))
        return made[0]

    def q(
        self, x: str, dtype: str = "uint8", *, scale: Any = 0.05, zero: Any = None, **kw: Any
    ) -> str:
        return self.op("QuantizeLinear", x, *self._grid(dtype, scale, zero), name=f"{x}_q", **kw)

    def dq(
        self, x: str, dtype: str = "uint8", *, scale: Any = 0.05, zero: Any = None, **kw: Any
    ) -> str:
        return self.op("DequantizeLinear", x, *self._grid(dtype, scale, zero), name=f"{x}_dq", **kw)

    def pair(self, x: str, dtype: str = "uint8", **kw: Any) -> str:
        """Add a QuantizeLinear and its DequantizeLinear."""
        return self.dq(self.q(x, dtype, **kw), dtype, **kw)

    def weight(
        self, shape: Sequence[int], dtype: str = "int8", *, axis: int | None = 0, zero: Any = None
    ) -> str:
        """Add rounded weights with a DequantizeLinear, per channel along `axis`."""
        low, high = (-64, 65) if dtype == "int8" else (0, 256)  # sums of pairs fit into 16 bits
        stored = self.constant("w", self.rng.integers(low, high, shape), dtype)
        count = 1 if axis is None else shape[axis]
        scale = np.full(count, 0.01) if axis is not None else np.float32(0.01)
        given = ZEROS[dtype] if zero is None else zero
        zeros = np.full(count, given) if axis is not None else given
        return self.dq(
            stored, dtype, scale=scale, zero=zeros, **({} if axis is None else {"axis": axis})
        )

    def bias(self, count: int, *, rounded: bool = True) -> str:
        if not rounded:
            return self.constant("b", np.ones(count))
        stored = self.constant("b", np.arange(count), "int32")
        return self.dq(stored, "int32", scale=np.full(count, 0.0005), zero=np.zeros(count), axis=0)

    def conv(self, x: str, *, name: str = "conv", channels: int = 4, **weight: Any) -> str:
        """Add a 3x3 Conv with rounded weights and bias."""
        w = self.weight((channels, 4, 3, 3), **weight)
        return self.op("Conv", x, w, self.bias(channels), name=name, pads=[1, 1, 1, 1])

    def build(self, *outputs: str) -> ModelProto:
        made = [helper.make_tensor_value_info(o, TensorProto.UNDEFINED, None) for o in outputs]
        for value in made:
            value.ClearField("type")
        graph = helper.make_graph(self.nodes, "small", self.inputs, made, self.constants)
        domains = {n.domain for n in self.nodes} - {""}
        imports = [helper.make_opsetid("", self.opset)] + [
            helper.make_opsetid(d, 1) for d in domains
        ]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        return onnx.shape_inference.infer_shapes(model)

    def _grid(self, dtype: str, scale: Any, zero: Any) -> tuple[str, str]:
        zero = ZEROS[dtype] if zero is None else zero
        return self.constant("s", scale), self.constant("z", zero, dtype)

    def _new(self, stem: str) -> str:
        used = {n.name for n in self.nodes} | {t.name for t in self.constants}
        names = (stem if i == 0 else f"{stem}_{i}" for i in range(len(used) + 1))
        return next(name for name in names if name not in used)


def values(shape: Sequence[int]) -> NDArray[Any]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)

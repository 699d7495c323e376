"""A graph of BERT's shapes with random weights, made with numpy alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

BASE = {"layers": 12, "hidden": 768, "heads": 12, "inner": 3072, "words": 30_522}
TINY = {"layers": 2, "hidden": 64, "heads": 2, "inner": 256, "words": 1000}
_POSITIONS = 512


class _Graph:
    """Nodes and weights, added one after the other."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self._rng = np.random.default_rng(0)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node and return its output."""
        output = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    def constant(self, values: NDArray[Any]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def normal(self, *shape: int, scale: float = 0.03) -> str:
        values = self._rng.standard_normal(shape, np.float32)
        return self.constant(values * np.float32(scale))

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        product = self.add("MatMul", x, self.normal(inputs, outputs))
        return self.add("Add", product, self.normal(outputs))

    def norm(self, x: str, size: int) -> str:
        gain = self.constant(np.ones(size, np.float32))
        return self.add("LayerNormalization", x, gain, self.normal(size), axis=-1)


def write_bert(path: Path, *, layers: int, hidden: int, heads: int, inner: int, words: int) -> None:
    """Write an encoder: input_ids and attention_mask [batch, length], outputs [batch, hidden]."""
    graph = _Graph()
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = graph.add("Unsqueeze", mask, graph.constant(np.array([1, 2])))
    mask = graph.add("Sub", graph.constant(np.array(1, np.float32)), mask)
    mask = graph.add("Mul", mask, graph.constant(np.array(np.finfo(np.float32).min)))
    x = graph.add("Gather", graph.normal(words, hidden), "input_ids")
    length = graph.add("Gather", graph.add("Shape", x), graph.constant(np.array([1])))
    zero = graph.constant(np.array([0]))
    places = graph.add("Slice", graph.normal(_POSITIONS, hidden), zero, length, zero)
    x = graph.norm(graph.add("Add", x, places), hidden)
    for _ in range(layers):
        x = graph.norm(graph.add("Add", x, _attend(graph, x, mask, hidden, heads)), hidden)
        wide = graph.dense(x, hidden, inner)
        root = graph.constant(np.array(np.sqrt(2), np.float32))
        half = graph.constant(np.array(0.5, np.float32))
        one = graph.constant(np.array(1, np.float32))
        gate = graph.add("Add", graph.add("Erf", graph.add("Div", wide, root)), one)
        wide = graph.add("Mul", graph.add("Mul", wide, gate), half)
        x = graph.norm(graph.add("Add", x, graph.dense(wide, inner, hidden)), hidden)
    first = graph.add("Gather", x, graph.constant(np.array(0)), axis=1)
    graph.nodes.append(helper.make_node("Tanh", [graph.dense(first, hidden, hidden)], ["pooled"]))
    shape = ["batch", "length"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "bert",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, shape)
                for name in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", hidden])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, path)


def _attend(graph: _Graph, x: str, mask: str, hidden: int, heads: int) -> str:
    shape = graph.constant(np.array([0, 0, heads, hidden // heads]))
    query, key, value = (
        graph.add("Reshape", graph.dense(x, hidden, hidden), shape) for _ in range(3)
    )
    query = graph.add("Transpose", query, perm=[0, 2, 1, 3])
    key = graph.add("Transpose", key, perm=[0, 2, 3, 1])
    value = graph.add("Transpose", value, perm=[0, 2, 1, 3])
    root = graph.constant(np.array(np.sqrt(hidden // heads), np.float32))
    scores = graph.add("Add", graph.add("Div", graph.add("MatMul", query, key), root), mask)
    mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), value)
    mixed = graph.add("Transpose", mixed, perm=[0, 2, 1, 3])
    flat = graph.add("Reshape", mixed, graph.constant(np.array([0, 0, hidden])))
    return graph.dense(flat, hidden, hidden)

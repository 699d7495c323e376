"""A random graph in the making: what is drawn by hypothesis, what was made, and its values.

Every operator that is added is run at once, so that the next one knows the shape that it reads. One
that ONNX Runtime refuses was not valid and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgekd.errors import ModelError
from edgekd.exporters.ort_session import Level, open_session, run

Array = NDArray[Any]

SAMPLES = 6
"""Of every graph."""
_NAMES = ["q{}", "dq{}", "scale{}", "zero{}", "weight{}", "bias{}", "gone{}", "t{}", "t{}_pads"]
"""Names that an inserter might think of."""
_IR = {9: 4, 10: 5, 11: 6, 12: 7, 13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9, 21: 10}


def run_node(node: NodeProto, given: dict[str, Array], opset: int) -> list[Array] | None:
    """Run one node on named arrays; None if ONNX Runtime refuses it."""
    outputs = [name for name in node.output if name]
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in given.items()
        if array.shape != (0,)
    ]
    # From operator set 13 on a Resize takes empty scales only as a constant.
    empty = [numpy_helper.from_array(a, name) for name, a in given.items() if a.shape == (0,)]
    given = {name: array for name, array in given.items() if array.shape != (0,)}
    made = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "one", inputs, made, empty)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    try:
        session = open_session(bytes(model.SerializeToString()), level=Level.ORT_DISABLE_ALL)
        return run(session, outputs, given, name="one node")
    except ModelError:
        return None


class Draft:
    """A graph in the making, whose choices `draw` makes."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self.opset: int = self.pick(17, 9, 11, 12, 13, 14, 16, 18, 19, 20, 21)
        self.rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        self.fixed: int = self.pick(0, 0, 1, 2)
        """The batch of the graph, 0 if it is free."""
        self.values: dict[str, Array] = {}
        """What every tensor is on the samples, or on as many as a fixed batch takes."""
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, Array] = {}
        self.inputs: dict[str, Array] = {}
        self.last = ""
        self._names: set[str] = set()

    def pick(self, *values: Any) -> Any:
        """Return one of some values; the first is the simplest."""
        return values[self._draw(st.integers(0, len(values) - 1))]

    def flip(self) -> bool:
        return bool(self.pick(False, True))

    def number(self, low: int, high: int) -> int:
        return int(self._draw(st.integers(low, high)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the last tensor, without the batch."""
        return self.values[self.last].shape[1:]

    def name(self) -> str:
        number = len(self._names) + self.pick(0, 0, 1, 7)
        wish: str = self.pick(*_NAMES).format(number)
        while wish in self._names:
            wish += "_"
        self._names.add(wish)
        return wish

    def normal(self, *shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        return np.asarray(self.rng.standard_normal(shape) * scale, np.float32)

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        name = self.name()
        self.weights[name] = np.array(array, dtype)
        return name

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(list(values), np.int64)

    def weight(self, *shape: int, scale: float = 1.0, shared: bool = True) -> str:
        """Return a constant of random numbers, or one of this shape that is there already."""
        same = [n for n, w in self.weights.items() if w.shape == shape and w.dtype == np.float32]
        if shared and same and self.flip():
            return str(self.pick(*same))
        array = self.normal(*shape, scale=scale)
        match self.pick("plain", "plain", "plain", "dead channel", "all zero", "outlier"):
            case "dead channel" if array.ndim > 1 and array.size:
                array[0] = 0
            case "all zero":
                array[...] = 0
            case "outlier" if array.size:
                array.flat[0] = 50 * scale
            case _:
                pass
        return self.constant(array)

    def add_input(self, shape: tuple[int, ...]) -> str:
        """Add an input of samples of this shape, of some magnitude."""
        scale = self.pick(1.0, 1.0, 1.0, 1e-5, 1e4, 0.0)
        name = "x" if not self.inputs else self.name()
        self._names.add(name)
        self.inputs[name] = self.normal(SAMPLES, *shape, scale=scale)
        if self.flip():
            self.inputs[name] = np.abs(self.inputs[name])
        self.values[name] = self.inputs[name][: self.fixed or SAMPLES]
        self.last = name
        return name

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> bool:
        """Add a node and go on from its first output; return whether it is valid.

        The attribute `outputs` is the number of outputs.
        """
        made = [self.name() for _ in range(attributes.pop("outputs", 1))]
        label = self.pick("", made[0], f"{operator}_{len(self.nodes) + 1}_")
        node = helper.make_node(operator, list(inputs), made, name=label, **attributes)
        return self.append(node)

    def append(self, node: NodeProto) -> bool:
        """Add a made node and go on from its first output; return whether it is valid."""
        inner = [n.input[0] for a in node.attribute if a.HasField("g") for n in a.g.node]
        known = {**self.weights, **self.values}
        given = {name: known[name] for name in [*node.input, *inner] if name}
        found = run_node(node, given, self.opset)
        if found is None or not all(_usable(array) for array in found):
            return False
        self.nodes.append(node)
        self.values |= dict(zip([n for n in node.output if n], found, strict=True))
        self.last = node.output[0]
        return True

    def floats(self, shape: tuple[int, ...] | None = None) -> list[str]:
        """Return the float tensors that were made, of one shape without the batch."""
        return [
            name
            for name, value in self.values.items()
            if value.dtype == np.float32 and (shape is None or value.shape[1:] == shape)
        ]

    def finish(self) -> ModelProto:
        """Return the graph: the last tensor is an output, others may be."""
        read = {name for node in self.nodes for name in node.input}
        made = [n for node in self.nodes for n in node.output if n]
        outputs = [n for n in made if n == self.last or n not in read or self.pick(0, 0, 1)]
        used = {name for node in self.nodes for name in [*node.input]} | {"x"}
        graph = helper.make_graph(
            self.nodes,
            "random",
            [self._declared(name) for name in self.inputs if name in used],
            [self._declared(name, known=self.flip()) for name in outputs],
            [numpy_helper.from_array(w, n) for n, w in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR[self.opset])

    def _declared(self, name: str, *, known: bool = True) -> Any:
        value = self.values[name]
        shape: list[int | str] = list(value.shape)
        if value.ndim and len(value) == (self.fixed or SAMPLES):
            shape[0] = self.fixed or "batch"
        elif name not in self.inputs:
            known = False
        if not known:
            shape = [f"{name}_{i}" for i in range(value.ndim)]
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        return helper.make_tensor_value_info(name, kind, shape)


def _usable(array: Array) -> bool:
    """Tell whether a tensor is small, and finite if it has numbers."""
    return array.size < 20_000 and array.dtype != np.bool_

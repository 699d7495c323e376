"""A graph that is being rewritten node by node, with names that are new against all of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx_ir.passes import common

from edgekd.exporters.onnx_files import apply_passes
from edgekd.quantization.names import list_names


class Draft:
    """A copy of a graph, and what is added to it."""

    def __init__(self, model: ModelProto) -> None:
        """Copy a graph; `model` is not changed."""
        self.model = ModelProto()
        self.model.CopyFrom(model)
        self.stored = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self._names = list_names(model)
        self._constants: dict[tuple[Any, ...], str] = {}
        self._added: list[TensorProto] = []

    def new(self, prefix: str) -> str:
        """Return a name that nothing has."""
        name, number = prefix, 0
        while name in self._names:
            name, number = f"{prefix}{number}", number + 1
        self._names.add(name)
        return name

    def add_constant(self, array: NDArray[Any], prefix: str) -> str:
        """Return the name of an initializer with these values."""
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            name = self._constants[key] = self.new(prefix)
            self._added.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return self._constants[key]

    def add_tensor(self, tensor: TensorProto) -> None:
        """Add an initializer whose name is from `new`."""
        self._added.append(tensor)

    def make(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> NodeProto:
        """Return a node with a name of its own."""
        return helper.make_node(operator, inputs, outputs, name=self.new(outputs[0]), **attributes)

    def rewrite(self, change: Callable[[NodeProto], Sequence[NodeProto]]) -> ModelProto:
        """Return the graph with each node replaced by what `change` returns for it."""
        graph = self.model.graph
        nodes = [new for node in graph.node for new in change(node)]
        del graph.node[:]
        graph.node.extend(nodes)
        graph.initializer.extend(self._added)
        del graph.value_info[:]  # types have changed, and shapes follow
        return apply_passes(self.model, common.RemoveUnusedNodesPass())

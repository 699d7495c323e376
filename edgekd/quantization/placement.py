"""Where a static graph is rounded: which nodes read which tensors in 8 bits, by layout.

TensorRT places its kernels around Q/DQ by itself. NVIDIA's guide ("Q/DQ layer-placement
recommendations") asks for all inputs of layers with weights and for the residual input of an
addition, for none on what a layer gives, and for nothing between a layer and its Relu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto, NodeProto

from edgekd.quantization.layouts import Layout
from edgekd.quantization.node_selection import Choice, find_readers, list_data_inputs

Reads = dict[str, tuple[str, ...]]
"""Node to the tensors that it reads in 8 bits."""

_ONE_SCALE = {
    *("Concat", "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Identity"),
}
"""TensorRT moves a Q up through these, to every input of a Concat. It merges two of one scale."""


def place(model: ModelProto, choice: Choice, layout: Layout) -> Reads:
    """Return what each chosen node reads rounded, in the order of the graph."""
    chosen = [node for node in model.graph.node if node.name in set(choice.nodes)]
    if layout.rounds == "regions":
        return {node.name: tuple(list_data_inputs(node)) for node in chosen}
    readers = find_readers(model)
    outputs = {value.name for value in model.graph.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    made = {
        node.output[0]: i
        for i, node in enumerate(model.graph.node)
        if node.name in choice.layers
        and len(readers.get(node.output[0], ())) == 1
        and node.output[0] not in outputs
    }
    reads: Reads = {}
    for node in chosen:
        layer = choice.layers.get(node.name)
        if layer is not None:
            reads[node.name] = (layer.data,)
        elif node.op_type == "Add" and (rest := _residual(node, made, constants)):
            reads[node.name] = (rest,)
    return reads


def _residual(addition: NodeProto, made: Mapping[str, int], constants: set[str]) -> str:
    """Return the input of an addition that is not fused with the layer before it, or "".

    Args:
        addition: of two tensors.
        made: what layers give to one reader alone, with the place of the layer in the graph.
        constants: names of initializers.
    """
    first, second = addition.input
    if (
        first == second
        or constants.intersection(addition.input)
        or (first not in made and second not in made)
    ):
        return ""
    # The addition runs with the layer that comes last: the other input is there by then.
    return str(first if made.get(first, -1) < made.get(second, -1) else second)


def group_by_scale(model: ModelProto, tensors: Sequence[str]) -> dict[str, str]:
    """Return for each tensor one that stands for all that must have its scale."""
    parent: dict[str, str] = {}

    def find(name: str) -> str:
        while parent.get(name, name) != name:
            name = parent[name]
        return name

    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _ONE_SCALE and not node.domain:
            inputs = node.input if node.op_type == "Concat" else node.input[:1]
            for name in inputs:
                if name not in constants:
                    parent[find(name)] = find(node.output[0])
    return {name: find(name) for name in tensors}

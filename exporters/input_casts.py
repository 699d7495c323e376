"""Move the Cast of a uint8 input right behind it: TensorRT reads uint8 there and nowhere else.

A network that takes pixels as they come begins with a Transpose to channels-first and a Cast.
That order moves a quarter of the bytes, and TensorRT's parser refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import ModelProto, NodeProto, TensorProto, helper

from edgekd.benchmarks.operators import SAME_VALUES
from edgekd.exporters.onnx_files import messages

_MOVES = SAME_VALUES | {"Identity", "Slice"}
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16}


def cast_inputs_first(model: ModelProto) -> ModelProto:
    """Return an equal model in which a uint8 input is cast before its values are moved.

    Inputs whose values end anywhere but in Casts to one float type are left as they are.

    Args:
        model: it is not changed.
    """
    result = ModelProto()
    result.CopyFrom(model)
    for value in result.graph.input:
        if value.type.tensor_type.elem_type == TensorProto.UINT8:
            _cast_first(result, value.name)
    return result


def _cast_first(model: ModelProto, name: str) -> None:
    graph = model.graph
    found = _follow(model, name)
    types = {a.i for node in found.casts for a in node.attribute if a.name == "to"}
    if found.ends_elsewhere or len(types) != 1:
        return
    if not types <= _FLOATS or all(node.input[0] == name for node in found.casts):
        return
    nodes = list(messages(model, NodeProto))
    taken = {entry for node in nodes for entry in [node.name, *node.input, *node.output]}
    new = f"{name}_float"
    while new in taken:
        new += "_"
    for node in graph.node:
        node.input[:] = [new if entry == name else entry for entry in node.input]
    for node in found.casts:  # of float to float they would be
        node.op_type = "Identity"
        del node.attribute[:]
    graph.node.insert(0, helper.make_node("Cast", [name], [new], name=new, to=types.pop()))
    for value in [value for value in graph.value_info if value.name in found.moved]:
        graph.value_info.remove(value)


@dataclass
class _Values:
    """What becomes of the values of an input."""

    moved: set[str]
    """Tensors that have them in another shape or order."""
    casts: list[NodeProto] = field(default_factory=list)
    """The Casts that read them."""
    ends_elsewhere: bool = False
    """Whether something else reads them, or they are an output."""


def _follow(model: ModelProto, name: str) -> _Values:
    found = _Values({name})
    for node in model.graph.node:
        if found.moved.isdisjoint(node.input):
            continue
        is_first = found.moved.isdisjoint(node.input[1:]) and not node.domain
        if is_first and node.op_type == "Cast":
            found.casts.append(node)
        elif is_first and node.op_type in _MOVES:
            found.moved.update(node.output)
        else:
            found.ends_elsewhere = True
    bodies = [attribute for node in model.graph.node for attribute in node.attribute]
    read = {name for body in bodies for inner in messages(body, NodeProto) for name in inner.input}
    read.update(value.name for value in model.graph.output)
    found.ends_elsewhere |= not found.moved.isdisjoint(read)
    return found

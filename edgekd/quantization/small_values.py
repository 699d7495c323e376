"""Find tensors whose small values matter: inputs of a logarithm, a root or a division.

8 bits round everything to 1/255 of the greatest value. A magnitude near 0, as most of a spectrum
is, then becomes 0, and its logarithm or root tells nothing any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgekd.benchmarks.operators import SAME_VALUES
from edgekd.quantization.layer_semantics import WEIGHTED

Constants = Mapping[str, NDArray[Any]]
Shapes = Mapping[str, Sequence[int]]

_FEW = 4
"""A sum over more values than that has no small values of its own: it is a norm."""
_ON = SAME_VALUES | {
    *("Add", "Sub", "Mul", "Neg", "Abs", "Pow", "Clip", "Max", "Min", "Relu", "Cast"),
    *("Slice", "Split", "Concat", "Gather", "Pad", "Expand", "Tile", "Unsqueeze", "Sum"),
    *("Resize", "MaxPool", "AveragePool", "GlobalMaxPool", "LeakyRelu", "PRelu", "Where"),
}
_REDUCE = {"ReduceSum", "ReduceMean", "ReduceL2", "ReduceSumSquare"}


def find_small_values(model: ModelProto) -> dict[str, str]:
    """Return the layers with weights that must not be rounded for it: name, reason."""
    makers = {name: node for node in model.graph.node for name in node.output}
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if _tiny(t)}
    stored = {tensor.name for tensor in model.graph.initializer}
    shapes = {
        v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.value_info
    }
    found: dict[str, str] = {}
    for node in model.graph.node:
        name = _small_input(node, constants, shapes)
        if not name or name in stored:
            continue
        todo: list[str] = [name]
        seen: set[str] = set()
        while todo:
            maker = makers.get(todo.pop())
            if maker is None or maker.name in seen:
                continue
            seen.add(maker.name)
            if maker.op_type in WEIGHTED:
                found.setdefault(maker.name, f"its small values matter: a {node.op_type} follows")
                # A bank of filters adds magnitudes up, and theirs matter then as well.
                todo += [maker.input[0]] if maker.op_type == "MatMul" else []
            elif maker.op_type in _ON or _sums_few(maker, constants, shapes):
                todo += [entry for entry in maker.input if entry]
    return found


def _tiny(tensor: TensorProto) -> bool:
    return bool(prod(tensor.dims) <= 8)


def _small_input(node: NodeProto, constants: Constants, shapes: Shapes) -> str:
    """Return the input of a node whose small values matter, or ""."""
    if node.op_type in ("Log", "Sqrt", "Reciprocal"):
        return str(node.input[0])
    if node.op_type == "ReduceL2":
        return str(node.input[0]) if _sums_few(node, constants, shapes) else ""
    if node.op_type == "Div":
        return str(node.input[1])
    if node.op_type == "Pow" and node.input[1] in constants:
        exponent = constants[node.input[1]]
        return str(node.input[0]) if exponent.size and (exponent < 1).all() else ""
    return ""


def _sums_few(node: NodeProto, constants: Constants, shapes: Shapes) -> bool:
    """Tell whether a node sums over a few values, such as the two parts of a complex number."""
    if node.op_type not in _REDUCE or node.input[0] not in shapes:
        return False
    axes = next((list(a.ints) for a in node.attribute if a.name == "axes"), [])
    if len(node.input) > 1 and node.input[1] in constants:
        axes = constants[node.input[1]].reshape(-1).tolist()
    shape = shapes[node.input[0]]
    lengths = [shape[axis] for axis in axes if -len(shape) <= axis < len(shape)]
    return bool(lengths) and 0 < prod(lengths) <= _FEW

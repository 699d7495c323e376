"""Write batch norms that stand in front of convolutions as depthwise convolutions of 1 x 1.

Behind a convolution a batch norm is folded into it. In front of one, as in DenseNet and in residual
networks with pre-activation, it stays, and no runtime has it in 8 bits: each was an island of
float between two conversions. As a convolution it runs in 8 bits, with the Relu behind it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgekd.exporters.onnx_files import messages

_IMAGE_AXES = 4
_LEAST_VARIANCE = 1e-12


def write_norms_as_convolutions(model: ModelProto) -> bool:
    """Change a graph in place, and return whether anything was changed.

    The answers stay, up to rounding in float32.

    Args:
        model: with inferred shapes.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in [*model.graph.input, *model.graph.value_info]
    }
    taken = {name for node in messages(model, NodeProto) for name in [*node.input, *node.output]}
    taken |= set(constants)
    changed = False
    for node in model.graph.node:
        fits = node.op_type == "BatchNormalization" and ranks.get(node.input[0]) == _IMAGE_AXES
        if not fits or not all(name in constants for name in node.input[1:5]):
            continue
        if any(a.name == "training_mode" and a.i for a in node.attribute):
            continue
        if _meets_a_convolution(node, readers, set(constants)):
            factors = _factors(node, [numpy_helper.to_array(constants[n]) for n in node.input[1:5]])
            if factors is not None:
                _rewrite(model, node, *factors, taken)
                changed = True
    return changed


def _meets_a_convolution(
    node: NodeProto, readers: dict[str, list[NodeProto]], constants: set[str]
) -> bool:
    """Tell whether all that lies between a norm and a convolution will go with it."""
    name = node.output[0]
    while True:
        found = readers.get(name, [])
        if any(reader.op_type == "Conv" for reader in found):
            return True
        if len(found) != 1 or found[0].op_type not in ("Mul", "Add", "Relu", "Clip"):
            return False
        if found[0].op_type in ("Mul", "Add") and constants.isdisjoint(found[0].input):
            return False
        name = found[0].output[0]


def _factors(
    node: NodeProto, parts: list[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return weight and bias of each channel; None: they are not finite."""
    if any(part.dtype != np.float32 for part in parts):
        return None
    scale, shift, mean, variance = (part.astype(np.float64) for part in parts)
    epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
    if not np.all(variance + epsilon > _LEAST_VARIANCE):
        return None
    weight = scale / np.sqrt(variance + epsilon)
    bias = shift - mean * weight
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        return None
    return weight.astype(np.float32), bias.astype(np.float32)


def _rewrite(
    model: ModelProto,
    node: NodeProto,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    taken: set[str],
) -> None:
    names = []
    for part, array in (("weight", weight.reshape(-1, 1, 1, 1)), ("bias", bias)):
        name = f"{node.output[0]}_{part}"
        while name in taken:
            name += "_"
        taken.add(name)
        names.append(name)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    data, result = node.input[0], node.output[0]
    node.op_type = "Conv"
    for field, values in ((node.input, [data, *names]), (node.output, [result])):
        del field[:]
        field.extend(values)
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("group", len(weight)))

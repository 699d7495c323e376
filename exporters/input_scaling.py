"""Fold the scaling of an input into the convolutions that read it: then it costs next to nothing.

A network that takes pixels begins with (x - mean) / std. As operators of their own these cost a
pass over the input each. Between channels-last data and an INT8 convolution, where the constants
repeat every three values, they cost as much as all other layers of a small network together. The
factor of a channel belongs into the weights that read it. A shift belongs into the bias where
everything that the kernel meets is shifted, which is so without padding. With padding, whose
zeros are not shifted, one Sub stays.

`python -m edgekd.benchmarks.trials.normalisation` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx_ir.passes import common

from edgekd.exporters.onnx_files import apply_passes, messages

_AFFINE = ("Sub", "Add", "Mul", "Div")
_MOVES = ("Transpose", "Cast", "Identity")


@dataclass(frozen=True)
class _Scaling:
    """A tensor that is factor * (moved source - mean), channel by channel."""

    source: str
    """An input of the graph."""
    moves: tuple[NodeProto, ...]
    """From the source on: transposes and casts."""
    factor: NDArray[np.float64]
    mean: NDArray[np.float64]
    is_folded: bool
    """Whether only a Sub is left, right before the convolution."""


def fold_input_scaling(model: ModelProto) -> ModelProto:
    """Return an equal model whose convolutions contain the scaling of the input.

    Scaling are Sub, Add, Mul and Div by constants, equal or one for each channel, between an
    input of the graph and a Conv with constant weights, past transposes and casts. Whatever else
    reads the scaled tensor is left alone. Only the last bits of float32 change.

    Args:
        model: it is not changed.
    """
    result = ModelProto()
    result.CopyFrom(model)
    graph = _Graph(result)
    for node in result.graph.node:
        if node.op_type == "Conv" and not node.domain:
            _fold_into(node, graph)
    if not graph.wanted:
        return model
    nodes = list(result.graph.node)
    del result.graph.node[:]
    result.graph.node.extend([*graph.made, *nodes])
    return _restore_names(apply_passes(result, common.RemoveUnusedNodesPass()), graph.wanted)


def _restore_names(model: ModelProto, wanted: dict[str, str]) -> ModelProto:
    """Give new constants the names of those that they replaced, where these are free now."""
    used = {name for node in messages(model, NodeProto) for name in [*node.input, *node.output]}
    used |= {tensor.name for tensor in messages(model, TensorProto)}
    free = {new: old for new, old in wanted.items() if old not in used}
    for node in messages(model, NodeProto):
        for i, name in enumerate(node.input):
            node.input[i] = free.get(name, name)
    for tensor in model.graph.initializer:
        tensor.name = free.get(tensor.name, tensor.name)
    return model


class _Graph:
    """A graph that gets new nodes, which read its inputs and each other."""

    def __init__(self, model: ModelProto) -> None:
        self.made: list[NodeProto] = []
        self.wanted: dict[str, str] = {}  # new constant: the name of the one that it replaces
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].HasField("t"):
                self.constants[node.output[0]] = node.attribute[0].t
        self.inputs = {value.name for value in model.graph.input} - set(self.constants)
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self._initializers = model.graph.initializer
        made = [[node.name, *node.input, *node.output] for node in messages(model, NodeProto)]
        self._names = {name for names in made for name in names}
        self._names |= {tensor.name for tensor in messages(model, TensorProto)}
        self._shared: dict[tuple[object, ...], str] = {}

    def add_node(self, operator: str, inputs: list[str], like: NodeProto | None = None) -> str:
        """Add a node with the attributes of another, once; return the name of what it gives."""
        plain = b"" if like is None else b"".join(a.SerializeToString() for a in like.attribute)
        key = (operator, *inputs, plain)
        if key not in self._shared:
            name = self._new_name(operator.lower())
            node = helper.make_node(operator, inputs, [name], name=name)
            node.attribute.extend([] if like is None else like.attribute)
            self.made.append(node)
            self._shared[key] = name
        return self._shared[key]

    def add_constant(self, array: NDArray[np.float64], name: str) -> str:
        """Add a float32 initializer, once; return its name."""
        values = array.astype(np.float32)
        key = (values.shape, values.tobytes())
        if key not in self._shared:
            self._shared[key] = self._new_name(name)
            self.wanted[self._shared[key]] = name
            self._initializers.append(numpy_helper.from_array(values, self._shared[key]))
        return self._shared[key]

    def _new_name(self, name: str) -> str:
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name


def _fold_into(conv: NodeProto, graph: _Graph) -> None:
    """Let a convolution read the source of its scaling, if it has one, with other weights."""
    stored = graph.constants.get(conv.input[1])
    bias = graph.constants.get(conv.input[2]) if len(conv.input) > 2 else None
    computed = bias is None and len(conv.input) > 2 and conv.input[2] != ""
    if stored is None or stored.data_type != TensorProto.FLOAT or len(stored.dims) < 3 or computed:
        return
    groups = next((a.i for a in conv.attribute if a.name == "group"), 1)
    name, pads = _look_through_pad(conv, graph)
    found = _find_scaling(name, stored.dims[1] * groups, len(stored.dims), graph)
    padded = pads is not None or has_padding(conv)
    if found is None or (found.is_folded and (padded or not found.mean.any())):
        return
    if pads is not None:
        kept = [attribute for attribute in conv.attribute if attribute.name != "pads"]
        del conv.attribute[:]
        conv.attribute.extend([*kept, helper.make_attribute("pads", pads)])
    weight = numpy_helper.to_array(stored).astype(np.float64)
    weight = weight * _by_input(found.factor, weight.shape, groups)
    name = found.source
    for move in found.moves:
        name = graph.add_node(move.op_type, [name], move)
    if padded and found.mean.any():
        mean = found.mean.reshape(-1, *[1] * (weight.ndim - 2))
        name = graph.add_node("Sub", [name, graph.add_constant(mean, "mean")])
    elif found.mean.any():
        rest = tuple(range(1, weight.ndim))
        known = 0.0 if bias is None else numpy_helper.to_array(bias).astype(np.float64)
        whole = known - (weight * _by_input(found.mean, weight.shape, groups)).sum(axis=rest)
        bias_name = graph.add_constant(whole, conv.input[2] if bias is not None else "bias")
        del conv.input[2:]
        conv.input.append(bias_name)
    conv.input[0] = name
    conv.input[1] = graph.add_constant(weight, conv.input[1])


def _look_through_pad(conv: NodeProto, graph: _Graph) -> tuple[str, list[int] | None]:
    """Return what a convolution reads, before a Pad with zeros, and its padding with the Pad's."""
    name = conv.input[0]
    pad = graph.makers.get(name)
    if pad is None or pad.op_type != "Pad" or pad.domain or len(pad.input) < 2:
        return name, None
    attributes = {a.name: helper.get_attribute_value(a) for a in [*pad.attribute, *conv.attribute]}
    amounts, *more = [graph.constants.get(entry) for entry in pad.input[1:] if entry]
    if amounts is None or len(pad.input) > 3 or attributes.get("mode", b"constant") != b"constant":
        return name, None
    if any(value is None or numpy_helper.to_array(value).any() for value in more):
        return name, None
    if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return name, None
    added = numpy_helper.to_array(amounts).reshape(2, -1)
    if added[:, :2].any() or (added < 0).any():
        return name, None
    own = attributes.get("pads", [0] * added[:, 2:].size)
    return pad.input[0], [int(a + b) for a, b in zip(own, added[:, 2:].reshape(-1), strict=True)]


def _by_input(values: NDArray[np.float64], shape: tuple[int, ...], groups: int) -> NDArray[Any]:
    """Return a value for each input channel [channels] in the form of a weight [outputs, ...]."""
    of_group = np.repeat(values.reshape(groups, -1), shape[0] // groups, axis=0)
    return of_group.reshape(*shape[:2], *[1] * (len(shape) - 2))


def has_padding(conv: NodeProto) -> bool:
    """Return whether the kernel of a convolution may meet padding."""
    return any(
        (a.name == "pads" and any(a.ints))
        or (a.name == "auto_pad" and a.s not in (b"NOTSET", b"VALID"))
        for a in conv.attribute
    )


def _find_scaling(name: str, channels: int, rank: int, graph: _Graph) -> _Scaling | None:
    """Walk from the input of a convolution back to an input of the graph."""
    axis, first = 1, name
    factor, shift = np.ones(channels), np.zeros(channels)
    moves: list[NodeProto] = []
    scaled: list[tuple[str, str]] = []
    while name not in graph.inputs:
        node = graph.makers.get(name)
        if node is None or node.domain:
            return None
        if node.op_type in _MOVES:
            moves.append(node)
            perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), None)
            if node.op_type == "Transpose":
                axis = perm[axis] if perm else rank - 1 - axis
            name = node.input[0]
            continue
        step = _affine(node, axis, channels, rank, graph)
        if step is None or any(move.op_type == "Cast" and not _to_float(move) for move in moves):
            return None
        name, times, plus = step
        factor, shift = factor * times, shift + factor * plus
        scaled.append((node.op_type, node.output[0]))
    if not scaled or not (np.isfinite(factor).all() and np.isfinite(shift).all() and factor.all()):
        return None
    return _Scaling(
        source=name,
        moves=tuple(move for move in reversed(moves) if move.op_type != "Identity"),
        factor=factor,
        mean=-shift / factor,
        is_folded=scaled == [("Sub", first)] and bool((factor == 1).all()),
    )


def _affine(
    node: NodeProto, axis: int, channels: int, rank: int, graph: _Graph
) -> tuple[str, NDArray[np.float64], NDArray[np.float64]] | None:
    """Return what a node scales, with factor and shift of each channel, or None."""
    if node.op_type not in _AFFINE or len(node.input) != 2:
        return None
    constant = [name in graph.constants for name in node.input]
    if constant not in ([False, True], [True, False]):
        return None
    data, other = node.input if constant[1] else reversed(node.input)
    value = numpy_helper.to_array(graph.constants[other])
    shape = [1] * (rank - value.ndim) + list(value.shape)
    one, zero = np.ones(channels), np.zeros(channels)
    if value.dtype != np.float32 or len(shape) != rank or shape[axis] not in (1, channels):
        return None
    if any(length != 1 for i, length in enumerate(shape) if i != axis):
        return None
    c = np.broadcast_to(value.reshape(-1).astype(np.float64), (channels,))
    if node.op_type == "Add":
        return data, one, c
    if node.op_type == "Mul":
        return data, c, zero
    if node.op_type == "Sub":
        return (data, one, -c) if constant[1] else (data, -one, c)
    return (data, 1 / c, zero) if constant[1] and c.all() else None


def _to_float(cast: NodeProto) -> bool:
    return any(a.name == "to" and a.i == TensorProto.FLOAT for a in cast.attribute)

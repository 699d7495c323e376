"""Rules for operators with weights: which channels they read and write."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.fx import Node

from edgekd.networks.channels.labels import Labels
from edgekd.networks.channels.walk import (
    Result,
    Rules,
    Walk,
    integer,
    listed,
    operator_name,
    shape,
    unite_dimension,
)

RULES = Rules()


@RULES.of(
    "conv1d",
    "conv2d",
    "conv3d",
    "convolution",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
)
def _convolution(walk: Walk, node: Node) -> Labels:
    source, weight = node.args[0], node.args[1]
    bias = node.args[2] if len(node.args) > 2 else None
    transposed = "transpose" in operator_name(node)
    place = {"conv1d": 6, "conv2d": 6, "conv3d": 6, "convolution": 8}.get(operator_name(node), 6)
    groups = integer(node, "groups", place, 1)
    if operator_name(node) == "convolution" and len(node.args) > 6:
        transposed = bool(node.args[6])
    channel = len(shape(source)) - (len(shape(weight)) - 1)
    reads, writes, rows = dict(walk.of(source)), walk.of(weight), shape(weight)
    own = reads.pop(channel, None)
    walk.union.fix_all([reads], f"{operator_name(node)} works along it")
    left, right = writes.get(0), writes.get(1)
    if left is None or (right is None and rows[1] > 1):
        return walk.stop(node, f"the weights of {operator_name(node)} are computed")
    right = walk.union.new(1) if right is None else right
    ins, outs = (left, right) if transposed else (right, left)
    depthwise = groups > 1 and rows[1] == 1 and rows[0] == groups
    if depthwise:  # every channel has a filter of its own
        into = outgoing = left
    elif groups > 1:  # groups stay equal in size: their channels of one number go together
        if transposed:
            return walk.stop(node, f"{operator_name(node)} works in groups")
        parts = outs.reshape(groups, -1)
        walk.union.unite(parts, parts[:1])
        into, outgoing = np.tile(ins, groups), outs
    else:
        into, outgoing = ins, outs
    if own is None:
        walk.union.fix(into, f"{operator_name(node)} reads what has no channels to cut")
    else:
        walk.union.unite(own, into)
    atoms = walk.of(bias).get(0)
    if atoms is not None:
        walk.union.unite(atoms, outgoing)
    return {channel: outgoing}


@RULES.of("linear")
def _linear(walk: Walk, node: Node) -> Labels:
    source, weight = node.args[0], node.args[1]
    bias = node.args[2] if len(node.args) > 2 else None
    found, weights = dict(walk.of(source)), walk.of(weight)
    last = len(shape(source)) - 1
    own = found.pop(last, None)
    rows, columns = weights.get(0), weights.get(1)
    if columns is not None:
        if own is None:
            walk.union.fix(columns, "linear reads what has no channels to cut")
        else:
            walk.union.unite(own, columns)
    elif own is not None:
        walk.union.fix(own, "the weights of linear are computed")
    atoms = walk.of(bias).get(0)
    if atoms is not None and rows is not None:
        walk.union.unite(atoms, rows)
    elif atoms is not None:
        walk.union.fix(atoms, "the weights of linear are computed")
    return found if rows is None else {**found, last: rows}


@RULES.of("addmm", "baddbmm")
def _add_product(walk: Walk, node: Node) -> Labels:
    product = _product(walk, node, node.args[1], node.args[2])
    rank, addend = len(shape(node)), node.args[0]
    for dim in range(rank):
        own = dim - (rank - len(shape(addend)))
        if own >= 0:
            parts = [(product, dim, shape(node)[dim]), (walk.of(addend), own, shape(addend)[own])]
            if unite_dimension(walk, parts, node) is None:
                product.pop(dim, None)
    return product


@RULES.of("mm", "bmm", "matmul")
def _matrix_product(walk: Walk, node: Node) -> Labels:
    return _product(walk, node, node.args[0], node.args[1])


def _product(walk: Walk, node: Node, left: object, right: object) -> Labels:
    """Rows of the left, columns of the right; what is summed over goes together."""
    a, b = shape(left), shape(right)
    if len(a) < 2 or len(b) < 2:
        return walk.stop(node)
    one, other = walk.of(left), walk.of(right)
    inner = [(one, len(a) - 1, a[-1]), (other, len(b) - 2, b[-2])]
    unite_dimension(walk, inner, node)
    rank = max(len(a), len(b))
    found: Labels = {}
    for dim in range(rank - 2):
        parts = [
            (labels, dim - (rank - len(sizes)), sizes[dim - (rank - len(sizes))])
            for labels, sizes in ((one, a), (other, b))
            if dim - (rank - len(sizes)) >= 0
        ]
        atoms = unite_dimension(walk, parts, node)
        if atoms is not None:
            found[dim] = atoms
    if len(a) - 2 in one:
        found[rank - 2] = one[len(a) - 2]
    if len(b) - 1 in other:
        found[rank - 1] = other[len(b) - 1]
    return found


@RULES.of("scaled_dot_product_attention")
def _attention(walk: Walk, node: Node) -> Labels:
    """Channels of the values pass; those of queries and keys set the scale and stay."""
    query, key, value = node.args[:3]
    rank = len(shape(query))
    for part in (query, key):
        walk.union.fix_all([walk.of(part)], "attention scales by the number of its channels")
    labels = dict(walk.of(value))
    atoms = labels.pop(rank - 1, None)
    walk.union.fix_all([labels], "attention works along it")
    return {} if atoms is None else {rank - 1: atoms}


@RULES.of(
    "batch_norm", "_native_batch_norm_legit_no_training", "instance_norm", "prelu", "_prelu_kernel"
)
def _per_channel(walk: Walk, node: Node) -> Result:
    """Parameters with one value per channel, along dimension 1."""
    labels = dict(walk.of(node.args[0]))
    own = labels.get(1)
    for argument in node.args[1:5]:
        atoms = walk.of(argument).get(0) if isinstance(argument, Node) else None
        if atoms is None or len(atoms) == 1:
            continue
        if own is None:
            walk.union.fix(atoms, f"{operator_name(node)} scales what has no channels to cut")
        else:
            walk.union.unite(own, atoms)
    return [labels, {}, {}] if operator_name(node).startswith("_native") else labels


@RULES.of("group_norm")
def _group_norm(walk: Walk, node: Node) -> Result:
    groups = integer(node, "num_groups", 1, 1)
    own = walk.of(node.args[0]).get(1)
    if own is not None:
        parts = own.reshape(groups, -1)
        walk.union.unite(parts, parts[:1])
        if len(node.args) < 3 or node.args[2] is None:
            walk.union.fix(own, "group_norm has no weights to count it by")
    return _normalised(walk, node, 1, node.args[2:4])


@RULES.of("layer_norm")
def _layer_norm(walk: Walk, node: Node) -> Result:
    over_last = len(listed(node.args[1]))
    last = len(shape(node.args[0])) - 1
    labels = walk.of(node.args[0])
    if over_last != 1 or len(node.args) < 3 or node.args[2] is None:
        over = {d: a for d, a in labels.items() if d > last - over_last}
        walk.union.fix_all([over], "layer_norm works over it")
    return _normalised(walk, node, last, node.args[2:4])


def _normalised(walk: Walk, node: Node, dim: int, parameters: Sequence[object]) -> Labels:
    labels = dict(walk.of(node.args[0]))
    for argument in parameters:
        for atoms in walk.of(argument).values():
            if dim in labels and len(atoms) == len(labels[dim]):
                walk.union.unite(labels[dim], atoms)
            else:
                walk.union.fix(atoms, f"{operator_name(node)} scales what has no channels to cut")
    return labels


@RULES.of("embedding")
def _embedding(walk: Walk, node: Node) -> Labels:
    weight = walk.of(node.args[0])
    if 0 in weight:
        walk.union.fix(weight[0], "it is an entry of a table")
    walk.union.fix_all([walk.of(node.args[1])], "it is a number of an entry")
    return {len(shape(node)) - 1: weight[1]} if 1 in weight else {}

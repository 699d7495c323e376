"""Rules for operators without weights: which channels they move.

One that only moves data has no index arithmetic here: it is run on the labels themselves.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from edgekd.networks.channels.labels import FIXED, Atoms, Labels
from edgekd.networks.channels.walk import (
    Result,
    Rules,
    Walk,
    axis,
    integer,
    listed,
    operator_name,
    shape,
    unite_dimension,
)

RULES = Rules()
LARGEST_LABELS = 1 << 25
"""Elements of a tensor above which labels are not moved through it: 128 MB."""


@RULES.of("clone", "contiguous", "alias", "detach", "to", "_to_copy", "lift_fresh_copy", "dropout")
@RULES.of("alpha_dropout", "feature_dropout", "zeros_like", "ones_like", "copy")
def _same(walk: Walk, node: Node) -> Labels:
    return dict(walk.of(node.args[0]))


@RULES.of("native_dropout")
def _dropped(walk: Walk, node: Node) -> Result:
    return [dict(walk.of(node.args[0])), dict(walk.of(node.args[0]))]


@RULES.of("view", "_unsafe_view", "reshape", "permute", "transpose", "t", "squeeze", "unsqueeze")
@RULES.of(
    "flatten", "unflatten", "movedim", "expand", "pixel_shuffle", "pixel_unshuffle", "numpy_T"
)
@RULES.of("channel_shuffle", "native_channel_shuffle", "repeat", "flip", "roll", "swapaxes", "mT")
def _move(walk: Walk, node: Node) -> Result:
    """Run the operator on the labels of each dimension."""
    source = node.args[0]
    if not isinstance(source, Node) or math.prod(shape(source)) > LARGEST_LABELS:
        return walk.stop(node)
    found: Labels = {}
    for dim, atoms in walk.of(source).items():
        sizes = shape(source)
        line = torch.as_tensor(walk.union.roots(atoms).astype(np.int32))
        spread = line.reshape([-1 if d == dim else 1 for d in range(len(sizes))]).expand(sizes)
        if "view" in operator_name(node):  # its labels are not laid out as the tensor itself
            spread = spread.contiguous()
        assert callable(node.target), "a call names its operator"
        moved = node.target(spread, *node.args[1:], **node.kwargs)
        place, labels = _along_one(walk, node, moved, sizes[dim])
        if place is None:
            continue
        if place in found:  # two dimensions with channels became one
            walk.union.fix(found.pop(place), f"{operator_name(node)} merges two kinds of channels")
            walk.union.fix(labels, f"{operator_name(node)} merges two kinds of channels")
            continue
        found[place] = labels
    return found


def _along_one(walk: Walk, node: Node, moved: Tensor, width: int) -> tuple[int | None, Atoms]:
    """Return the dimension along which labels vary, with them.

    Where one dimension was split into several, one of them may lose channels and the others stay
    whole: channels that differ only in these go together.
    """
    for d in range(moved.ndim):  # what is the same along a dimension is looked at once
        first = moved.narrow(d, 0, 1)
        if moved.stride(d) == 0 or not bool((moved != first).any()):
            moved = first
    varying = [d for d, size in enumerate(moved.shape) if size > 1]
    if not varying:
        atoms = moved.reshape(-1)[:1].numpy().astype(np.int64)
        if width > 1 or atoms[0] == FIXED:
            walk.union.fix(atoms, f"{operator_name(node)} spreads it")
        return None, atoms
    chosen = varying[0]
    if len(varying) > 1:
        usual = "first" if "pixel" in operator_name(node) else "last"
        chosen = varying[-1 if walk.free.get(node.name, usual) == "last" else 0]
        whole = moved
        for d in range(moved.ndim):
            whole = whole if d == chosen else whole.narrow(d, 0, 1)
        walk.splits[node.name] = np.unique(moved.numpy())
        walk.union.unite(moved.numpy(), whole.numpy())
    line = moved
    for d in range(moved.ndim):
        line = line if d == chosen else line.narrow(d, 0, 1)
    return chosen, line.reshape(-1).numpy().astype(np.int64)


def _tie_blocks(walk: Walk, node: Node, atoms: Atoms, size: int) -> None:
    """Equal parts of a dimension keep equal numbers of channels."""
    walk.splits[node.name] = np.unique(atoms)
    blocks = atoms.reshape(-1, size)
    walk.union.unite(blocks, blocks[:1])


@RULES.of("split", "split_with_sizes", "chunk", "unbind", "tensor_split")
def _split(walk: Walk, node: Node) -> Result:
    source, sizes = node.args[0], shape(node.args[0])
    outputs = node.meta["val"]
    dim = axis(node, 1 if operator_name(node) == "unbind" else 2, len(sizes))
    labels = dict(walk.of(source))
    mine = labels.pop(dim, None)
    if operator_name(node) == "unbind":
        if mine is not None:
            walk.union.fix(mine, "unbind takes single channels out of it")
        return [{d - (d > dim): a for d, a in labels.items()} for _ in outputs]
    lengths = [int(o.shape[dim]) for o in outputs]
    if mine is None:
        return [dict(labels) for _ in outputs]
    if len(set(lengths)) > 1:
        walk.union.fix(mine, f"{operator_name(node)} cuts it into unequal parts")
        return [dict(labels) for _ in outputs]
    _tie_blocks(walk, node, mine, lengths[0])
    parts = mine.reshape(-1, lengths[0])
    return [{**labels, dim: part} for part in parts]


@RULES.of("slice", "narrow", "select")
def _slice(walk: Walk, node: Node) -> Labels:
    source, sizes = node.args[0], shape(node.args[0])
    dim = axis(node, 1, len(sizes))
    labels = dict(walk.of(source))
    mine = labels.pop(dim, None)
    if operator_name(node) == "select":
        if mine is not None:
            walk.union.fix(mine, "select takes a single channel out of it")
        return {d - (d > dim): a for d, a in labels.items()}
    if mine is None:
        return labels
    length = shape(node)[dim]
    if length == sizes[dim]:
        return {**labels, dim: mine}
    start = integer(node, "start", 2)
    start += sizes[dim] if start < 0 else 0
    step = integer(node, "step", 4, 1)
    if step != 1 or sizes[dim] % length or start % length:
        walk.union.fix(mine, "a slice of unequal parts is taken of it")
        return labels
    _tie_blocks(walk, node, mine, length)
    return {**labels, dim: mine[start : start + length]}


@RULES.of("cat", "concat")
def _cat(walk: Walk, node: Node) -> Labels:
    parts = [n for n in listed(node.args[0]) if shape(n) != (0,)]
    rank = len(shape(node))
    dim = axis(node, 1, rank)
    found: Labels = {}
    for d in range(rank):
        if d == dim:
            rows = [walk.of(n).get(d) for n in parts]
            if any(row is not None for row in rows):
                widths = [shape(n)[d] for n in parts]
                found[d] = np.concatenate(
                    [
                        np.full(w, FIXED, np.int64) if row is None else row
                        for row, w in zip(rows, widths, strict=True)
                    ]
                )
        else:
            atoms = unite_dimension(walk, [(walk.of(n), d, shape(n)[d]) for n in parts], node)
            if atoms is not None:
                found[d] = atoms
    return found


@RULES.of("stack")
def _stack(walk: Walk, node: Node) -> Labels:
    parts = listed(node.args[0])
    rank = len(shape(node))
    dim = axis(node, 1, rank)
    found: Labels = {}
    for d in range(rank - 1):
        atoms = unite_dimension(walk, [(walk.of(n), d, shape(n)[d]) for n in parts], node)
        if atoms is not None:
            found[d + (d >= dim)] = atoms
    return found


@RULES.of("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")
@RULES.of(
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool2d"
)
@RULES.of("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d")
@RULES.of("upsample_bilinear2d", "upsample_bicubic2d", "reflection_pad1d", "reflection_pad2d")
@RULES.of("replication_pad1d", "replication_pad2d", "max_pool2d_with_indices", "lp_pool2d")
@RULES.of("_adaptive_avg_pool2d", "grid_sampler_2d", "grid_sampler", "pad", "constant_pad_nd")
def _spatial(walk: Walk, node: Node) -> Result:
    """A rule for operators within each channel: sizes of other dimensions change."""
    before, meta = shape(node.args[0]), node.meta["val"]
    after = tuple(meta[0].shape if isinstance(meta, (tuple, list)) else meta.shape)
    labels, found = walk.of(node.args[0]), {}
    for dim, atoms in labels.items():
        padded = operator_name(node) in ("pad", "constant_pad_nd")
        spatial = dim >= 2 and not padded
        if dim < len(after) and after[dim] == before[dim] and not spatial:
            found[dim] = atoms
        else:
            walk.union.fix(atoms, f"{operator_name(node)} works along it")
    return [found, {}] if isinstance(meta, (tuple, list)) else found


@RULES.of("mean", "sum", "amax", "amin", "max", "min", "var", "std", "norm", "linalg_vector_norm")
@RULES.of("logsumexp", "prod", "argmax", "argmin", "any", "all", "median")
def _reduce(walk: Walk, node: Node) -> Result:
    sizes = shape(node.args[0])
    asked = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    if operator_name(node) in ("norm", "linalg_vector_norm"):
        asked = node.kwargs.get("dim", node.args[2] if len(node.args) > 2 else None)
    named = [d for d in listed(asked) or [asked] if isinstance(d, int)]
    over = {d % len(sizes) for d in named} or set(range(len(sizes)))
    meta = node.meta["val"]
    single = meta[0] if isinstance(meta, (tuple, list)) else meta
    keeps = single.ndim == len(sizes)
    found: Labels = {}
    for dim, atoms in walk.of(node.args[0]).items():
        if dim in over:
            walk.union.fix(atoms, f"{operator_name(node)} goes over its channels")
        else:
            found[dim if keeps else dim - sum(d < dim for d in over)] = atoms
    return [found, dict(found)] if isinstance(meta, (tuple, list)) else found


@RULES.of("softmax", "_softmax", "log_softmax", "_log_softmax", "cumsum", "cumprod", "sort", "glu")
def _along(walk: Walk, node: Node) -> Result:
    sizes = shape(node.args[0])
    dim = axis(node, 1, len(sizes), -1)
    if operator_name(node) == "glu":
        return _glu(walk, node, dim)
    found = dict(walk.of(node.args[0]))
    atoms = found.pop(dim, None)
    if atoms is not None:
        walk.union.fix(atoms, f"{operator_name(node)} goes over its channels")
    return found


def _glu(walk: Walk, node: Node, dim: int) -> Labels:
    found = dict(walk.of(node.args[0]))
    atoms = found.get(dim)
    if atoms is not None:
        _tie_blocks(walk, node, atoms, len(atoms) // 2)
        found[dim] = atoms[: len(atoms) // 2]
    return found

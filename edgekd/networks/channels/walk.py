"""One pass over an exported graph: the rule of every operator changes the labels.

An operator without a rule lets all the channels that it touches stay, and nothing else.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.fx import Node

from edgekd.networks.channels.labels import Atoms, Labels, Union

POINTWISE = frozenset(
    (
        *("hardswish", "hardsigmoid", "hardtanh", "relu6", "elu", "celu", "selu", "silu", "mish"),
        *("softplus", "log_sigmoid", "rrelu", "softshrink", "hardshrink", "tanhshrink", "softsign"),
        *("threshold", "square", "where", "masked_fill", "clamp", "leaky_relu", "gelu"),
    )
)
"""Operators of single elements that torch does not mark as such."""
Result = Labels | list[Labels]
Rule = Callable[["Walk", Node], Result]


@dataclass
class Walk:
    """The state of one pass over a graph."""

    union: Union
    labels: dict[Node, Result] = field(default_factory=dict)
    free: Mapping[str, str] = field(default_factory=dict)
    """Name of a node that splits a dimension -> "first" or "last": which part may lose channels."""
    splits: dict[str, Atoms] = field(default_factory=dict)
    """Name of a node that split a dimension -> the atoms that went through it."""

    def of(self, value: object) -> Labels:
        """Return the labels of an argument; nothing for numbers and constants."""
        found = self.labels.get(value, {}) if isinstance(value, Node) else {}
        return found if isinstance(found, dict) else {}

    def stop(self, node: Node, reason: str = "") -> Labels:
        """Let everything that a node reads stay."""
        reason = reason or f"{operator_name(node)} reads it, whose channels cannot be followed"
        for argument in node.all_input_nodes:
            found = self.labels.get(argument, {})
            self.union.fix_all([found] if isinstance(found, dict) else found, reason)
        return {}


class Rules(dict[str, Rule]):
    """Operator, by its aten name -> its rule."""

    def of(self, *names: str) -> Callable[[Rule], Rule]:
        """Register a function as the rule of these operators."""

        def registered(function: Rule) -> Rule:
            self.update(dict.fromkeys(names, function))
            return function

        return registered


def shape(value: object) -> tuple[int, ...]:
    """Return the shape of an argument; () for a number."""
    meta = value.meta.get("val") if isinstance(value, Node) else None
    return tuple(int(size) for size in meta.shape) if isinstance(meta, Tensor) else ()


def integer(node: Node, name: str, place: int, default: int = 0) -> int:
    """Return a whole number among a node's arguments, by name or by place."""
    found = node.kwargs.get(name, node.args[place] if len(node.args) > place else default)
    return found if isinstance(found, int) else default


def listed(value: object) -> list[object]:
    """Return the members of a list among a node's arguments; nothing for another argument."""
    return list(value) if isinstance(value, (list, tuple)) else []


def axis(node: Node, place: int, rank: int, default: int = 0) -> int:
    """Return the argument `dim` of a node, counted from the front."""
    return integer(node, "dim", place, default) % rank


def apply_rule(rules: Mapping[str, Rule], walk: Walk, node: Node) -> Result:
    """Return the labels of what a node gives."""
    if node.target is operator.getitem:
        source, index = node.args[0], node.args[1]
        found = walk.labels.get(source, {})  # type: ignore[arg-type]
        if isinstance(found, list):
            return found[index] if isinstance(index, int) else {}
        return found if index == 0 else walk.stop(node)
    name = operator_name(node)
    if name in rules:
        return rules[name](walk, node)
    pointwise = name in POINTWISE or torch.Tag.pointwise in getattr(node.target, "tags", ())
    return _pointwise(walk, node) if pointwise else walk.stop(node)


def operator_name(node: Node) -> str:
    """Return how aten calls the operator, without its overload."""
    return str(
        getattr(node.target, "_opname", None) or getattr(node.target, "__name__", node.target)
    )


def _tensors(node: Node) -> list[Node]:
    return [n for n in node.all_input_nodes if isinstance(n.meta.get("val"), Tensor)]


def unite_dimension(
    walk: Walk, parts: Sequence[tuple[Labels, int, int]], node: Node
) -> Atoms | None:
    """Unite dimension d of (labels, d, size) for all of that size; None where it stays."""
    wide = [(labels.get(d), size) for labels, d, size in parts if size > 1]
    known = [atoms for atoms, _ in wide if atoms is not None]
    if not known:
        return None
    if len(known) < len(wide) or len({len(atoms) for atoms in known}) > 1:
        for atoms in known:
            walk.union.fix(atoms, f"{operator_name(node)} sets it against values of a fixed size")
        return None
    for other in known[1:]:
        walk.union.unite(known[0], other)
    return known[0]


def _pointwise(walk: Walk, node: Node) -> Labels:
    """Unite the labels of one place: equal channels of all inputs belong together."""
    rank = len(shape(node))
    found: Labels = {}
    for dim in range(rank):
        parts = []
        for argument in _tensors(node):
            own = dim - (rank - len(shape(argument)))
            if own >= 0:
                parts.append((walk.of(argument), own, shape(argument)[own]))
        atoms = unite_dimension(walk, parts, node)
        if atoms is not None:
            found[dim] = atoms
    return found

"""Find channel groups in the graph that `torch.export` captures.

The idea is that of DepGraph (Fang et al. 2023, "DepGraph: Towards Any Structural Pruning"); the
analysis is ours, so that an unknown operator costs the channels that it touches and no more.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node
from torch.utils._pytree import tree_map_only

from edgekd.errors import EdgekdError, NothingToDo, one_line
from edgekd.networks.channels import layers, moves
from edgekd.networks.channels.labels import FIXED, Atoms, Labels, Union
from edgekd.networks.channels.walk import Rule, Walk, apply_rule
from edgekd.networks.copying import copy_network
from edgekd.networks.edits import can_cut, output_dimension
from edgekd.networks.outputs import list_tensors
from edgekd.networks.recurrent import capturable

RULES: Mapping[str, Rule] = {**layers.RULES, **moves.RULES}
MOST_NODES = 100_000
Place = tuple[str, int]
"""Name of a parameter or buffer, and a dimension of it."""


@dataclass(frozen=True, eq=False)
class Unit:
    """Channels that go together or not at all: the indices in each place."""

    places: Mapping[Place, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Group:
    """Units in the same places, so that any of them may be removed."""

    name: str
    """The first layer that writes them."""
    units: tuple[Unit, ...]
    width: int
    """Channels of that layer in each unit."""
    splits: frozenset[str]
    """Operators on the way that split a dimension."""


@dataclass(frozen=True)
class Channels:
    """The channels that can be removed from a network, and why the others stay."""

    groups: tuple[Group, ...]
    left: Mapping[str, str]
    """Layer -> why its outputs stay."""
    stuck: tuple[str, ...]
    """Operators that split a dimension none of whose channels may go."""

    @property
    def units(self) -> int:
        """The total number of units."""
        return sum(len(group.units) for group in self.groups)


def in_float32(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return inputs with their float tensors in float32; what is no tensor stays."""
    found: tuple[Any, ...] = tree_map_only(
        Tensor, lambda x: x.float() if x.is_floating_point() else x, inputs
    )
    return found


Select = Callable[[Any], Any]
"""Of what a network returns, what counts."""


class _Selected(nn.Module):
    """A network that returns only what counts: the rest holds no channels, whatever its type."""

    def __init__(self, network: nn.Module, select: Select) -> None:
        super().__init__()
        self.network, self.select = network, select

    def forward(self, *inputs: Any) -> list[Tensor]:
        return list_tensors(self.select(self.network(*inputs)))


def capture(
    network: nn.Module, inputs: tuple[Tensor, ...], select: Select = lambda result: result
) -> ExportedProgram:
    """Return the graph of a network from its inputs to `select` of its outputs.

    It has no in-place operators.

    Raises:
        NothingToDo: `torch.export` cannot capture it.
    """
    inputs = in_float32(inputs)
    try:
        traced = _Selected(copy_network(network), select).float().eval()
        with torch.no_grad(), warnings.catch_warnings(), capturable(traced):
            warnings.simplefilter("ignore")  # of torch's own parts
            graph: ExportedProgram = torch.export.export(traced, inputs).run_decompositions({})
    except EdgekdError:
        raise
    except Exception as error:
        raise NothingToDo(
            f"its channels cannot be followed: torch.export fails with {type(error).__name__}: "
            f"{one_line(error)[:300]}"
        ) from error
    if len(graph.graph.nodes) > MOST_NODES:
        raise NothingToDo(f"its graph has more than {MOST_NODES} operators")
    return graph


def follow(
    network: nn.Module,
    graph: ExportedProgram,
    *,
    keep: Collection[nn.Module] = (),
    free: Mapping[str, str] | None = None,
) -> Channels:
    """Return the groups of channels of `network`, whose graph is `graph`.

    Args:
        network: as it was captured.
        graph: from `capture`.
        keep: modules that keep their output channels.
        free: name of an operator that splits a dimension -> "first" or "last": the part of it that
            may lose channels; the others stay whole.
    """
    walk = Walk(Union(), free=free or {})
    leaves = _leaves(walk, network, graph, keep)
    for node in graph.graph.nodes:
        if node.op == "call_function":
            walk.labels[node] = apply_rule(RULES, walk, node)
        elif node.op == "output":
            walk.stop(node, "the network gives it")
        elif node.op != "placeholder":
            walk.labels[node] = {}
    stuck = tuple(n for n, atoms in walk.splits.items() if not walk.union.roots(atoms).any())
    return Channels(_groups(walk, leaves), _left(walk, network, leaves), stuck)


def _leaves(
    walk: Walk, network: nn.Module, graph: ExportedProgram, keep: Collection[nn.Module]
) -> dict[str, Labels]:
    """Give every parameter and buffer its atoms; fix those that no edit can cut."""
    signature = graph.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    modules, owners = dict(network.named_modules()), _owners(network)
    leaves: dict[str, Labels] = {}
    for node in graph.graph.nodes:
        if node.op != "placeholder":
            continue
        inner = names.get(node.name, "").removeprefix("network.")  # `_Selected` is around it
        name = owners.names.get(inner, inner)
        if not name:
            walk.labels[node] = {}
            continue
        if name not in leaves:
            leaves[name] = _atoms(walk.union, node)
            path, _, leaf = name.rpartition(".")
            owner = modules.get(path)
            if owner is None or leaf not in {*owner._parameters, *owner._buffers}:
                walk.union.fix_all([leaves[name]], "it is not a parameter of a layer")
            elif not can_cut(owner):
                kind = type(owner).__name__
                walk.union.fix_all([leaves[name]], f"{path or 'the network'} is a {kind}")
            elif name in owners.shared:
                walk.union.fix_all([leaves[name]], "its weights belong to several layers")
            elif owner in keep:
                dim = output_dimension(owner, leaf)
                walk.union.fix(leaves[name].get(dim, np.array([FIXED])), "it is named in `keep`")
        walk.labels[node] = leaves[name]
    return leaves


def _atoms(union: Union, node: Node) -> Labels:
    sizes = node.meta["val"].shape
    return {dim: union.new(int(size)) for dim, size in enumerate(sizes[:2]) if size > 1}


@dataclass(frozen=True)
class _Owners:
    """Every name of a tensor -> the first one; the tensors that several modules own."""

    names: Mapping[str, str]
    shared: frozenset[str]


def _owners(network: nn.Module) -> _Owners:
    first: dict[int, str] = {}
    holders: dict[int, set[int]] = defaultdict(set)
    names = {}
    for path, module in network.named_modules(remove_duplicate=False):
        for leaf, tensor in [*module._parameters.items(), *module._buffers.items()]:
            if tensor is None:
                continue
            name = f"{path}.{leaf}".lstrip(".")
            names[name] = first.setdefault(id(tensor), name)
            holders[id(tensor)].add(id(module))
    return _Owners(names, frozenset(n for key, n in first.items() if len(holders[key]) > 1))


def _groups(walk: Walk, leaves: Mapping[str, Labels]) -> tuple[Group, ...]:
    places: dict[int, dict[Place, list[int]]] = defaultdict(lambda: defaultdict(list))
    for name, labels in leaves.items():
        for dim, atoms in labels.items():
            for index, root in enumerate(walk.union.roots(atoms).tolist()):
                if root != FIXED:
                    places[root][name, dim].append(index)
    split = {n: {walk.union.root(a) for a in atoms.tolist()} for n, atoms in walk.splits.items()}
    alike: dict[tuple[tuple[Place, int], ...], list[tuple[int, Unit]]] = defaultdict(list)
    for root, found in places.items():
        signature = tuple((place, len(indices)) for place, indices in found.items())
        unit = Unit({place: tuple(indices) for place, indices in found.items()})
        alike[signature].append((root, unit))
    groups = []
    for signature, units in alike.items():
        written = [(place, count) for place, count in signature if place[0].endswith("weight")]
        if not written:
            continue
        (name, _), width = _first_written(written)
        roots = {root for root, _ in units}
        through = frozenset(node for node, atoms in split.items() if atoms & roots)
        groups.append(
            Group(name.rpartition(".")[0], tuple(unit for _, unit in units), width, through)
        )
    return tuple(groups)


def _first_written(places: list[tuple[Place, int]]) -> tuple[Place, int]:
    """Return the first place that is an output of a layer, else the first."""
    return next(((p, n) for p, n in places if p[1] == 0), places[0])


def _left(walk: Walk, network: nn.Module, leaves: Mapping[str, Labels]) -> dict[str, str]:
    modules = dict(network.named_modules())
    found = {}
    for name, labels in leaves.items():
        path, _, leaf = name.rpartition(".")
        owner = modules.get(path)
        if owner is None or leaf != "weight" or not can_cut(owner) or len(labels) < 2:
            continue
        atoms: Atoms = labels.get(output_dimension(owner, leaf), np.zeros(0, np.int64))
        if len(atoms) and not walk.union.roots(atoms).any():
            found[path] = walk.union.reason(atoms)
    return found

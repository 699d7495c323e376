"""Remove whole channels, and write down which ones stayed.

Which channels must go together is read off torch-pruning's dependency graph (Fang et al. 2023,
"DepGraph: Towards Any Structural Pruning"). Of each such group those go whose weights, in all
layers that produce or read them, have the smallest L2 norm (Li et al. 2017, "Pruning Filters for
Efficient ConvNets", for single layers). torch-pruning cuts nothing itself: the indices it names
become an edit (`edgekd.networks.edits`), which does the cutting now and when it is replayed.

torch-pruning can misread shapes (channel shuffles, attention heads) in ways that still run, so each
result is checked against the original with the removed channels set to zero.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgekd.errors import ModelError, NothingToDo
from edgekd.networks.edits import apply_edit, can_cut, is_depthwise, zero_edit
from edgekd.networks.layers import find_layer

Cut = dict[tuple[str, int], set[int]]
"""(tensor name, dimension) -> the indices that go."""


def thin(
    network: nn.Module,
    example_inputs: tuple[Tensor, ...],
    *,
    ratio: float,
    multiple: int = 16,
    keep: Sequence[str] = (),
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a copy of `network` with fewer channels, and the edit that makes it from the original.

    Each group loses `ratio` of its width, rounded so that a multiple of `multiple` is kept (halves
    round up, at least one multiple); a group as wide as one multiple or less stays as it is. What
    the network puts out keeps its width, and so does what it takes in.

    Args:
        network: is not touched.
        example_inputs: for the body, on its device; samples or noise, not zeros: they also serve to
            check the result.
        ratio: share of the channels that go, in (0, 1).
        multiple: step of the kept widths, at least 1.
        keep: names of modules whose layers keep their output channels, with all coupled to them.

    Raises:
        NothingToDo: no width may shrink, or rounding takes back what would go.
        ModelError: an option makes no sense, or the network cannot be followed; the message names
            the layer.
    """
    if not (0 < ratio < 1 and multiple >= 1):
        raise ModelError(
            f"got ratio {ratio} and multiple {multiple}; the ratio must lie between 0 and 1, "
            "the multiple must be at least 1"
        )
    traced = copy.deepcopy(network).eval()
    for parameter in traced.parameters():
        parameter.requires_grad_(parameter.is_floating_point())  # tracing follows the gradient
    kept = _kept_layers(traced, keep)
    graph, groups = _follow(traced, example_inputs)
    names = {module: name for name, module in traced.named_modules()}
    free = [group for group in groups if not _stays(group, graph, kept)]
    found = [_shrunk(group, graph, names, ratio, multiple) for group in free]
    cuts = {name: cut for name, cut in found if cut}
    if not cuts:
        raise NothingToDo(
            f"ratio {ratio} removes nothing: every width that may shrink is at or below multiple "
            f"({multiple}), or rounds back to itself; a higher ratio or a lower multiple may help"
        )
    edit = _edit(network, cuts.values())
    fault = _fault(network, edit, example_inputs)
    if fault is not None:
        raise _misread(network, cuts, fault, example_inputs)
    return apply_edit(copy.deepcopy(network), edit), edit


def _follow(
    traced: nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[tp.DependencyGraph, list[tp.Group]]:
    """Return the dependency graph and its groups, each with all of its channels."""

    def outputs(result: object) -> list[Tensor]:
        # the clone gives each output a node of its own, also where a layer's output is returned
        found = [tensor.clone() for tensor in _tensors(result) if tensor.grad_fn is not None]
        if not found:
            raise ValueError("no output depends on its weights in a way that can be differentiated")
        return found

    try:
        with torch.enable_grad():
            graph = tp.DependencyGraph().build_dependency(
                traced,
                example_inputs=inputs,
                forward_fn=lambda module, args: module(*args),
                output_transform=outputs,
                verbose=False,  # it would warn of every bare parameter, used or not
            )
            return graph, list(graph.get_all_groups())
    except Exception as error:
        raise ModelError(
            f"torch-pruning cannot follow this {type(traced).__name__}: it fails with "
            f"{type(error).__name__}: {error}; leave the pruning step out, or rewrite that part of "
            "the network with plain layers"
        ) from error


def _kept_layers(network: nn.Module, keep: Sequence[str]) -> set[nn.Module]:
    return {layer for path in keep for layer in find_layer(network, path).modules()}


def _stays(group: tp.Group, graph: tp.DependencyGraph, kept: set[nn.Module]) -> bool:
    """Whether the group reaches an output or the outputs of a kept layer."""
    return any(
        item.dep.target.type == tp.ops.OPTYPE.OUTPUT
        or (item.dep.target.module in kept and graph.is_out_channel_pruning_fn(item.dep.handler))
        for item in group
    )


def _shrunk(
    group: tp.Group,
    graph: tp.DependencyGraph,
    names: Mapping[nn.Module, str],
    ratio: float,
    multiple: int,
) -> tuple[str, Cut]:
    """Return the name of the group's first layer, and all that goes with its weakest channels."""
    root = group[0].dep
    name = names[root.target.module]
    try:
        scores: Tensor = tp.importance.GroupMagnitudeImportance(p=2)(group)
        blocks = [_weakest(scores, units, ratio, multiple) for units in _blocks(group, name)]
        gone = sorted(index for block in blocks for index in block)
        part = graph.get_pruning_group(root.target.module, root.handler, gone)
        if sorted(part[0].idxs) != gone:
            raise _unfollowable(name, "they depend on one another")
        return name, _cut(part, graph, names) if gone else {}
    except (IndexError, KeyError, AttributeError, RuntimeError, ValueError, TypeError) as error:
        reason = f"it counts them wrongly ({type(error).__name__}: {error})"
        raise _unfollowable(name, reason) from error


def _blocks(group: tp.Group, name: str) -> list[list[tuple[int, ...]]]:
    """Split a group's channels into blocks, each of which keeps a multiple of its own.

    After a concatenation some layers see a part of the channels: a block is seen by the same ones
    throughout. It is a list of units, the channels that go together: more than one each where a
    convolution or norm works in groups of channels, which must stay equal.
    """
    width = len(group[0].idxs)
    seen: list[list[int]] = [[] for _ in range(width)]
    for place, item in enumerate(group):
        for index in item.root_idxs:
            if index is None:
                raise _unfollowable(name, f"{item.dep.target.name} reads its channels repeatedly")
            seen[index].append(place)
    blocks: dict[tuple[int, ...], list[int]] = {}
    for index, places in enumerate(seen):
        blocks.setdefault(tuple(sorted(set(places))), []).append(index)
    grouped = [item for item in group if _channel_groups(item.dep.target.module) > 1]
    if not grouped:
        return [[(index,) for index in block] for block in blocks.values()]
    if len(blocks) > 1 or any(sorted(item.idxs) != list(range(width)) for item in grouped):
        raise _unfollowable(name, "a layer with groups of channels sees a part of it")
    groups = math.lcm(*(_channel_groups(item.dep.target.module) for item in grouped))
    return [[tuple(range(first, width, width // groups)) for first in range(width // groups)]]


def _channel_groups(module: object) -> int:
    if isinstance(module, nn.GroupNorm):
        return module.num_groups
    return module.groups if isinstance(module, _ConvNd) and not is_depthwise(module) else 1


def _weakest(
    scores: Tensor, units: Sequence[tuple[int, ...]], ratio: float, multiple: int
) -> list[int]:
    """Return the channels of the units that go: of the smallest mean score, of equals the first."""
    step = math.lcm(multiple, len(units[0]))
    width = len(units) * len(units[0])
    # the small term: 0.7 * 80 is 55.99..., and halves round up
    kept = math.floor(width * (1 - ratio) / step + 0.5 + 1e-9) * step
    gone = width - min(max(kept, step), width)
    means = torch.stack([scores[list(unit)].double().mean() for unit in units])
    order = torch.argsort(means, stable=True).tolist()
    return [index for unit in order[: gone // len(units[0])] for index in units[unit]]


def _cut(part: tp.Group, graph: tp.DependencyGraph, names: Mapping[nn.Module, str]) -> Cut:
    cut, root = Cut(), names[part[0].dep.target.module]
    for dep, indices in part:
        module = dep.target.module
        if isinstance(module, nn.Parameter):
            raise _unfollowable(root, f"it includes a bare parameter, shape {tuple(module.shape)}")
        if module not in names:
            continue  # an operation without weights
        if not can_cut(module) or (isinstance(module, nn.LayerNorm) and module.weight is None):
            raise _unfollowable(root, f"{names[module]} ({module}) cannot be cut")
        groups = _channel_groups(module)
        for leaf, dim in _dimensions(module, bool(graph.is_out_channel_pruning_fn(dep.handler))):
            width = getattr(module, leaf).shape[dim]  # with groups: of one, numbered from zero
            if max(indices) >= width * groups:
                raise _unfollowable(root, f"{names[module]} has only {width * groups} channels")
            tensor = f"{names[module]}.{leaf}".lstrip(".")
            cut.setdefault((tensor, dim), set()).update(index % width for index in indices)
    return cut


def _dimensions(module: nn.Module, outputs: bool) -> list[tuple[str, int]]:
    """Return the tensors that hold a layer's output (or input) channels, with the dimension."""
    depthwise = isinstance(module, _ConvNd) and is_depthwise(module)
    if isinstance(module, (_ConvNd, nn.Linear)) and not depthwise:
        transposed = isinstance(module, _ConvTransposeNd)
        found = [("weight", int(outputs is transposed)), *([("bias", 0)] if outputs else [])]
    elif isinstance(module, nn.PReLU) and module.num_parameters == 1:
        found = []  # one slope for all channels
    else:
        last = module.weight.ndim - 1 if isinstance(module, nn.LayerNorm) else 0
        found = [("weight", last), ("bias", last), ("running_mean", 0), ("running_var", 0)]
    return [(leaf, dim) for leaf, dim in found if getattr(module, leaf, None) is not None]


def _edit(network: nn.Module, cuts: Iterable[Cut]) -> dict[str, Any]:
    gone: Cut = {}
    for cut in cuts:
        for place, indices in cut.items():
            gone.setdefault(place, set()).update(indices)
    state = network.state_dict()
    tensors: dict[str, dict[str, list[int]]] = {}
    for (name, dim), indices in sorted(gone.items()):
        stay = [index for index in range(state[name].shape[dim]) if index not in indices]
        if not stay:
            raise _unfollowable(name.rpartition(".")[0], "nothing of it would remain")
        tensors.setdefault(name, {})[str(dim)] = stay
    return {"op": "keep", "tensors": tensors}


def _fault(network: nn.Module, edit: dict[str, Any], inputs: tuple[Tensor, ...]) -> str | None:
    """Return what is wrong with the thinned network; None if it computes what it should."""
    with torch.no_grad():
        expected = _tensors(zero_edit(copy.deepcopy(network).eval(), edit)(*inputs))
        thinned = apply_edit(copy.deepcopy(network).eval(), edit)
        try:
            got = _tensors(thinned(*inputs))
        except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
            return f"without these channels it fails with {type(error).__name__}: {error}"
    for one, other in zip(got, expected, strict=True):
        # a misread channel changes everything; rounding in a deep network stays far below this
        one, other = one.double(), other.double()
        if not torch.allclose(one, other, rtol=0, atol=1e-3 * float(other.abs().max())):
            return "it does not compute what the network with these channels set to zero computes"
    return None


def _misread(
    network: nn.Module, cuts: Mapping[str, Cut], fault: str, inputs: tuple[Tensor, ...]
) -> ModelError:
    """Find the group that is to blame; one alone shows it, unless only several together fail."""
    for name, cut in cuts.items():
        alone = _fault(network, _edit(network, [cut]), inputs)
        if alone is not None:
            return _unfollowable(name, alone)
    return _unfollowable(", ".join(cuts), fault)


def _unfollowable(layer: str, reason: str) -> ModelError:
    return ModelError(
        f"torch-pruning cannot follow the channels of {layer}: {reason}; "
        f"name the layers concerned in `keep` (such as {layer.partition(',')[0]!r})"
    )


def _tensors(result: object) -> list[Tensor]:
    """Return the tensors in what a network returned, however it is nested."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, Mapping):
        result = list(result.values())
    elif dataclasses.is_dataclass(result):
        result = [getattr(result, field.name) for field in dataclasses.fields(result)]
    parts = result if isinstance(result, (list, tuple)) else []
    return [tensor for part in parts for tensor in _tensors(part)]

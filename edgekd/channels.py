"""Remove whole channels, and write down which ones stayed.

Which channels must go together is read off torch-pruning's dependency graph (Fang et al. 2023,
"DepGraph: Towards Any Structural Pruning"). Of each such group the channels with the smallest L2
norm over all the weights that produce or read them go (Li et al. 2017, "Pruning Filters for
Efficient ConvNets", for single layers). Nothing is cut by torch-pruning itself: the indices it
names, all of the unpruned network, become an edit (`edgekd.edits`), and the edit does the cutting.
So what is replayed later is what was judged here.

torch-pruning reads shapes and can misread (a channel shuffle, attention heads), in ways that still
run. Hence each result is checked against the original with the removed channels set to zero.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from edgekd.edits import apply_edit, is_depthwise
from edgekd.errors import ModelError

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
        ModelError: an option makes no sense, nothing is left to remove, or the network cannot be
            followed; the message names the layer.
    """
    if not (0 < ratio < 1 and multiple >= 1):
        raise ModelError(
            f"got ratio {ratio} and multiple {multiple}; "
            "the ratio must lie between 0 and 1, the multiple must be at least 1"
        )
    traced = copy.deepcopy(network).eval()
    for parameter in traced.parameters():
        parameter.requires_grad_(parameter.is_floating_point())  # tracing follows the gradient
    graph = _follow(traced, example_inputs)
    groups = _Groups(graph, traced, _kept_layers(traced, keep))
    cuts = {name: cut for name, cut in groups.cuts(ratio, multiple) if cut}
    if not cuts:
        raise ModelError(
            f"ratio {ratio} removes nothing: every width that may shrink is at or below its "
            f"multiple of {multiple}, or rounds back to itself; raise the ratio, lower the multiple, "
            "or leave this step out"
        )
    edit = _edit(network, cuts.values())
    fault = _fault(network, edit, example_inputs)
    if fault is not None:
        raise _misread(network, cuts, fault, example_inputs)
    return apply_edit(copy.deepcopy(network), edit), edit


def _follow(traced: nn.Module, inputs: tuple[Tensor, ...]) -> tp.DependencyGraph:
    def outputs(result: object) -> list[Tensor]:
        # the clone gives each output a node of its own, also where a layer's output is returned
        return [tensor.clone() for tensor in _tensors(result) if tensor.grad_fn is not None]

    try:
        with torch.enable_grad():
            return tp.DependencyGraph().build_dependency(
                traced,
                example_inputs=inputs,
                forward_fn=lambda module, args: module(*args),
                output_transform=outputs,
                verbose=False,  # it would warn of every bare parameter, used or not
            )
    except Exception as error:
        raise ModelError(
            f"torch-pruning cannot follow this {type(traced).__name__}: it fails with "
            f"{type(error).__name__}: {error}; leave the pruning step out, or rewrite that part of "
            "the network with plain layers"
        ) from error


def _kept_layers(network: nn.Module, keep: Sequence[str]) -> set[nn.Module]:
    names = dict(network.named_modules())
    for name in keep:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=3) or list(names)[1:4]
            raise ModelError(
                f"`keep` names {name!r}, which this {type(network).__name__} does not have; "
                f"names are written as in its state_dict, such as {', '.join(close)}"
            )
    return {layer for name in keep for layer in names[name].modules()}


@dataclass(frozen=True)
class _Groups:
    """The sets of channels that must go together, and which of them do."""

    graph: tp.DependencyGraph
    network: nn.Module
    kept: Collection[nn.Module]

    def cuts(self, ratio: float, multiple: int) -> Iterator[tuple[str, Cut]]:
        """Yield each group that may shrink: the name of its root layer, and what goes."""
        names = {module: name for name, module in self.network.named_modules()}
        score = tp.importance.GroupMagnitudeImportance(p=2)
        for group in self.graph.get_all_groups():
            root = group[0].dep
            name = names[root.target.module]
            if self._stays(group):
                continue
            blocks = _blocks(group, name)
            scores = score(group).double()
            gone = [i for block in blocks for i in _weakest(scores, block, ratio, multiple)]
            if not gone:
                continue
            part = self.graph.get_pruning_group(root.target.module, root.handler, sorted(gone))
            if set(part[0].idxs) != set(gone):
                raise _unfollowable(name, "its channels are coupled with each other")
            yield name, self._cut(part, names, name)

    def _stays(self, group: tp.Group) -> bool:
        return any(
            item.dep.target.type == tp.ops.OPTYPE.OUTPUT
            or (item.dep.target.module in self.kept and self._is_output(item.dep))
            for item in group
        )

    def _is_output(self, dep: tp.Dependency) -> bool:
        return bool(self.graph.is_out_channel_pruning_fn(dep.handler))

    def _cut(self, part: tp.Group, names: Mapping[nn.Module, str], root: str) -> Cut:
        cut: Cut = {}
        for dep, indices in part:
            module = dep.target.module
            if isinstance(module, nn.Parameter):
                raise _unfollowable(root, f"a bare parameter of shape {tuple(module.shape)} is in it")
            if module not in names:
                continue  # an operation without weights
            for leaf, (dim, width) in _dimensions(module, outputs=self._is_output(dep)).items():
                tensor = ".".join(filter(None, (names[module], leaf)))
                cut.setdefault((tensor, dim), set()).update(i % width for i in indices)
        return cut

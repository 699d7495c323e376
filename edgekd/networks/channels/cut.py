"""Remove whole channels, and record which ones stayed.

Which channels go together is read off the network's graph (`graph`). Of each group of them
those go whose weights, in all layers that write or read them, have the smallest L2 norm (Li et al.
2017, "Pruning Filters for Efficient ConvNets", for single layers). The indices become an edit
(`edgekd.networks.edits`), which does the cutting now and when it is replayed.

The code of a network may count channels by a fixed number, which its graph does not show. So each
result is checked against the original with the removed channels set to zero, and a group that fails
stays as it is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.errors import ModelError, NothingToDo
from edgekd.networks.channels.graph import (
    Channels,
    Group,
    Place,
    Select,
    Unit,
    capture,
    follow,
    in_float32,
)
from edgekd.networks.copying import copy_network
from edgekd.networks.edits import apply_edit, zero_edit
from edgekd.networks.layers import find_layer
from edgekd.networks.outputs import list_tensors

Cut = dict[Place, set[int]]
"""(tensor name, dimension) -> the indices that go."""
RUN_ERRORS = (RuntimeError, ValueError, TypeError, IndexError, AssertionError, AttributeError)


TRIAL_S = 60.0
"""Seconds of processor time in which cuts are proven; what is not proven by then stays."""


@dataclass(frozen=True)
class FoundCut:
    """The edit that removes channels, and what it leaves; plain data."""

    edit: Mapping[str, Any]
    left: Mapping[str, str]
    """Layer -> why its output channels stay."""


def find_cut(
    network: nn.Module,
    example_inputs: tuple[Tensor, ...],
    *,
    ratio: float,
    multiple: int = 16,
    keep: Sequence[str] = (),
    select: Select = lambda result: result,
    advice: str = "",
    way_out: str = "",
) -> FoundCut:
    """Return the edit that makes a network with fewer channels of the original.

    Each group loses `ratio` of its width, rounded so that a multiple of `multiple` is kept (halves
    round up, at least one multiple); a group as wide as one multiple or less stays as it is. What
    the network puts out keeps its width, and so does what it takes in. What cannot be followed or
    fails the check stays, and is named.

    Args:
        network: is not touched.
        example_inputs: for the body, on its device; samples or noise, not zeros: they also serve to
            check the result.
        ratio: share of the channels that go, in (0, 1).
        multiple: step of the kept widths, at least 1.
        keep: names of modules whose layers keep their output channels, with all coupled to them.
        select: of what the network returns, what counts; the rest holds no channels.
        advice: added to the reason where the ratio removes nothing.
        way_out: the same where no ratio could remove any.

    Raises:
        NothingToDo: no width may shrink, or rounding takes back what would go.
        ModelError: an option makes no sense.
    """
    if not (0 < ratio < 1 and multiple >= 1):
        raise ModelError(
            f"got ratio {ratio} and multiple {multiple}; the ratio must lie between 0 and 1, "
            "the multiple must be at least 1"
        )
    proven = _prove(
        network,
        example_inputs,
        lambda found: _cuts(network, found, ratio, multiple),
        keep=keep,
        select=select,
    )
    if not proven.cuts:
        raise NothingToDo(_nothing(ratio, multiple, proven.found, proven.left, (advice, way_out)))
    return FoundCut(_edit(network, proven.cuts.values()), proven.left)


@dataclass(frozen=True)
class _Proven:
    """Channels of a network, and the cuts of them that compute what they should."""

    found: Channels
    cuts: Mapping[Group, Cut]
    left: Mapping[str, str]


def _prove(
    network: nn.Module,
    example_inputs: tuple[Tensor, ...],
    choose: Callable[[Channels], Mapping[Group, Cut]],
    *,
    keep: Sequence[str],
    select: Select,
) -> _Proven:
    """Find the channels, let `choose` say what goes of them, and leave what fails the check."""
    kept = _kept_layers(network, keep)
    graph = capture(network, example_inputs, select)
    trial = _Trial(network, example_inputs, select)
    found = follow(network, graph, keep=kept)
    free = dict.fromkeys(found.stuck, "first")
    if free:  # of a split dimension the other part may be the one that the layers around allow
        other = follow(network, graph, keep=kept, free=free)
        found, free = (other, free) if other.units > found.units else (found, {})
    good, bad = trial.sort(choose(found))
    turned = {node: "first" for group in bad for node in group.splits if node not in free}
    if turned:  # or the one that the code does not count
        found = follow(network, graph, keep=kept, free={**free, **turned})
        good, bad = trial.sort(choose(found))
    left = {**found.left, **{group.name: trial.reason(group) for group in bad}}
    return _Proven(found, good, left)


@dataclass(frozen=True)
class Removable:
    """Groups of which channels may go: a cut of half of each was proven."""

    groups: tuple[Group, ...]
    left: Mapping[str, str]
    """Layer -> why its output channels stay."""


def find_removable(
    network: nn.Module,
    example_inputs: tuple[Tensor, ...],
    *,
    multiple: int,
    select: Select = lambda result: result,
    way_out: str = "",
) -> Removable:
    """Return the groups that can lose channels; see `find_cut`.

    Raises:
        NothingToDo: there are none.
    """
    proven = _prove(
        network,
        example_inputs,
        lambda found: _cuts(network, found, 0.5, multiple),
        keep=(),
        select=select,
    )
    if not proven.cuts:
        raise NothingToDo(_nothing(0.5, multiple, proven.found, proven.left, ("", way_out)))
    return Removable(tuple(proven.cuts), proven.left)


def edit_without(network: nn.Module, removed: Mapping[Group, Sequence[Unit]]) -> dict[str, Any]:
    """Return the edit that removes units of `network`."""
    return _edit(network, [_cut_of(units) for units in removed.values()])


def provable(
    network: nn.Module,
    example_inputs: tuple[Tensor, ...],
    removed: Mapping[Group, Sequence[Unit]],
    *,
    select: Select = lambda result: result,
) -> tuple[dict[Group, Sequence[Unit]], dict[str, str]]:
    """Return those removals after which the network computes what it should; see `find_cut`.

    Of the others: the name of the first layer, and why its channels stay.
    """
    trial = _Trial(network, example_inputs, select)
    good, bad = trial.sort({group: _cut_of(units) for group, units in removed.items()})
    reasons = {group.name: trial.reason(group) for group in bad}
    return {group: removed[group] for group in good}, reasons


def by_weights(network: nn.Module, groups: Sequence[Group]) -> dict[Group, Tensor]:
    """Return for each unit the sum of squares of all weights that write or read its channels."""
    state = dict(network.named_parameters(remove_duplicate=False))
    norms: dict[Place, Tensor] = {}
    return {
        group: torch.stack([_score(unit, state, norms) for unit in group.units]) for group in groups
    }


def _cut_of(units: Iterable[Unit]) -> Cut:
    cut: Cut = {}
    for unit in units:
        for place, indices in unit.places.items():
            cut.setdefault(place, set()).update(indices)
    return cut


def _nothing(
    ratio: float,
    multiple: int,
    found: Channels,
    left: Mapping[str, str],
    advice: tuple[str, str],
) -> str:
    small, stuck = (text and f"; {text}" for text in advice)
    if not found.groups or (left and len(left) > len(found.groups)):
        shown = "; ".join(f"{name}: {reason}" for name, reason in list(left.items())[:3])
        return (
            f"no channels of it can be removed ({shown or 'it has no layers with channels'}){stuck}"
        )
    return (
        f"ratio {ratio} removes nothing: every width that may shrink is at or below multiple "
        f"({multiple}), or rounds to itself{small}"
    )


def _kept_layers(network: nn.Module, keep: Sequence[str]) -> set[nn.Module]:
    return {layer for path in keep for layer in find_layer(network, path).modules()}


def _cuts(network: nn.Module, channels: Channels, ratio: float, multiple: int) -> dict[Group, Cut]:
    """Return what goes of each group; a group that loses nothing is left out."""
    cuts = {}
    for group, scores in by_weights(network, channels.groups).items():
        cut = _cut_of(_weakest(scores, group, ratio, multiple))
        if cut:
            cuts[group] = cut
    return cuts


def _score(unit: Unit, state: Mapping[str, Tensor], norms: dict[Place, Tensor]) -> Tensor:
    """Return the sum of squares of all weights that write or read a unit's channels."""
    total = torch.zeros((), dtype=torch.float64)
    for (name, dim), indices in unit.places.items():
        if name.rpartition(".")[2] == "weight" and name in state:
            if (name, dim) not in norms:
                weight = state[name].detach().double()
                others = [d for d in range(weight.ndim) if d != dim]
                norms[name, dim] = (
                    weight.square().sum(others).cpu() if others else weight.square().cpu()
                )
            total = total + norms[name, dim][list(indices)].sum()
    return total


def _weakest(scores: Tensor, group: Group, ratio: float, multiple: int) -> list[Unit]:
    """Return the units that go: of the smallest score, of equals the first."""
    step = math.lcm(multiple, group.width)
    width = len(group.units) * group.width
    # the small term: 0.7 * 80 is 55.99..., and halves round up
    kept = math.floor(width * (1 - ratio) / step + 0.5 + 1e-9) * step
    gone = width - min(max(kept, step), width)
    order = torch.argsort(scores, stable=True).tolist()
    return [group.units[place] for place in order[: gone // group.width]]


def _edit(network: nn.Module, cuts: Iterable[Cut]) -> dict[str, Any]:
    gone: Cut = {}
    for cut in cuts:
        for place, indices in cut.items():
            gone.setdefault(place, set()).update(indices)
    sizes = {name: tensor.shape for name, tensor in _named_tensors(network)}
    kept: dict[str, dict[str, list[int]]] = {}
    for (name, dim), indices in sorted(gone.items()):
        stay = [index for index in range(sizes[name][dim]) if index not in indices]
        kept.setdefault(name, {})[str(dim)] = stay
    return {"op": "keep", "tensors": kept}


def _named_tensors(network: nn.Module) -> Iterable[tuple[str, Tensor]]:
    yield from network.named_parameters(remove_duplicate=False)
    yield from network.named_buffers(remove_duplicate=False)


class _Trial:
    """Holds cuts against the network with those channels set to zero."""

    def __init__(self, network: nn.Module, inputs: tuple[Tensor, ...], select: Select) -> None:
        self._select = select
        self._network = copy_network(network).float().eval()
        self._inputs = in_float32(inputs)
        self._reasons: dict[Group, str] = {}
        self._end = time.process_time() + TRIAL_S

    def sort(self, cuts: Mapping[Group, Cut]) -> tuple[dict[Group, Cut], list[Group]]:
        """Return the cuts that can all be made together, and the groups whose cannot."""
        good = self._largest(cuts)
        return good, [group for group in cuts if group not in good]

    def reason(self, group: Group) -> str:
        """Return why a group stays."""
        return self._reasons.get(group, "it cannot be cut together with others")

    def _largest(self, cuts: Mapping[Group, Cut]) -> dict[Group, Cut]:
        """Return cuts that work together: all, those of both halves, or one after the other."""
        found = dict(cuts)
        if not found:
            return {}
        late = time.process_time() > self._end
        fault = "there was no time left to prove it" if late else self.fault(found)
        if fault is None:
            return found
        if late or len(found) == 1:
            self._reasons.update(dict.fromkeys(found, fault))
            return {}
        items = list(found.items())
        halves = [self._largest(dict(part)) for part in (items[::2], items[1::2])]
        both = {**halves[0], **halves[1]}
        both = {group: both[group] for group in found if group in both}
        if not (halves[0] and halves[1]) or self.fault(both) is None:
            return both
        good = dict(halves[0])
        for group, cut in halves[1].items():
            if time.process_time() > self._end:
                break
            if self.fault({**good, group: cut}) is None:
                good[group] = cut
        return good

    def _run(self, network: nn.Module) -> list[Tensor]:
        own = (x.clone() if isinstance(x, Tensor) else x for x in self._inputs)
        return list_tensors(self._select(network(*own)))  # which may change them in place

    def fault(self, cuts: Mapping[Group, Cut]) -> str | None:
        """Return what is wrong with the thinned network; None if it computes what it should."""
        edit = _edit(self._network, cuts.values())
        with torch.no_grad():
            try:
                expected = self._run(zero_edit(copy_network(self._network), edit))
                got = self._run(apply_edit(copy_network(self._network), edit))
            except (*RUN_ERRORS, ModelError) as error:
                reason = str(error).partition("\n")[0][:200]
                return f"without these channels, it fails: {type(error).__name__}: {reason}"
        for one, other in zip(got, expected, strict=True):
            # a misread channel changes everything; rounding in a deep network stays far below this
            one, other = one.double(), other.double()
            tolerance = 1e-3 * float(other.abs().max())
            if one.shape != other.shape or not torch.allclose(one, other, rtol=0, atol=tolerance):
                return "its outputs differ from those with these channels set to zero"
        return None

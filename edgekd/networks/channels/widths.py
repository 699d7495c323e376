"""Choose how wide each group of channels stays, so that a share of the multiplications is left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from edgekd.networks.channels.graph import Group, Unit


@dataclass(frozen=True)
class _Step:
    """Units of a group that go together, down to the next multiple."""

    group: Group
    units: tuple[Unit, ...]
    importance: float


class _Widths:
    """What the kept widths cost, and what each further step would save."""

    def __init__(self, macs: Mapping[str, float], sizes: Mapping[str, Sequence[int]]) -> None:
        self._kept = {name: list(sizes[name]) for name in macs}
        self._times = {name: macs[name] / math.prod(sizes[name]) for name in macs}

    def _cost(self, names: Sequence[str]) -> float:
        return sum(self._times[name] * math.prod(self._kept[name]) for name in names)

    def saved(self, step: _Step, sign: int = 1) -> float:
        """Return what the removal of a step saves now; with -1, what its return costs."""
        names = sorted({name for name, _ in step.units[0].places if name in self._kept})
        before = self._cost(names)
        self.remove(step, sign)
        after = self._cost(names)
        self.remove(step, -sign)
        return (before - after) * sign

    def remove(self, step: _Step, sign: int = 1) -> None:
        """Take the step; with -1, take it back."""
        for unit in step.units:
            for (name, dim), indices in unit.places.items():
                if name in self._kept:
                    self._kept[name][dim] -= sign * len(indices)


def choose_removed(
    importance: Mapping[Group, Tensor],
    *,
    macs: Mapping[str, float],
    sizes: Mapping[str, Sequence[int]],
    removed: float,
    multiple: int,
    least: Mapping[Group, float],
) -> dict[Group, list[Unit]]:
    """Return the units that go, so that at least `removed` multiplications are saved if possible.

    Step by step, that group loses its least important channels, down to the next multiple, whose
    removal costs the least importance for each multiplication that it saves now. At the end, what
    was removed beyond need comes back, the most important first.

    Args:
        importance: of each unit of each group.
        macs: name of a weight -> the multiplications of the products that read it.
        sizes: name of a weight -> its shape.
        removed: multiplications that should go.
        multiple: step of the kept widths.
        least: channels of each group that stay at least.
    """
    widths = _Widths(macs, sizes)
    open_steps = {
        group: _steps(group, scores, multiple=multiple, least=least[group])
        for group, scores in importance.items()
    }
    taken: dict[Group, list[_Step]] = {group: [] for group in importance}
    done = 0.0
    while done < removed:
        nexts = [(widths.saved(steps[0]), steps[0]) for steps in open_steps.values() if steps]
        priced = [(step.importance / saved, saved, step) for saved, step in nexts if saved > 0]
        if not priced:
            break
        _, saved, step = min(priced, key=lambda one: one[0])  # of equal prices the first
        widths.remove(step)
        taken[step.group].append(open_steps[step.group].pop(0))
        done += saved
    lasts = sorted((steps[-1] for steps in taken.values() if steps), key=lambda s: -s.importance)
    for step in lasts:
        cost = widths.saved(step, -1)
        if done - cost >= removed:
            widths.remove(step, -1)
            taken[step.group].pop()
            done -= cost
    return {
        group: [unit for step in steps for unit in step.units]
        for group, steps in taken.items()
        if steps
    }


def _steps(group: Group, scores: Tensor, *, multiple: int, least: float) -> list[_Step]:
    """Return the steps in which a group may lose its units, the least important first."""
    order = scores.argsort(stable=True).tolist()
    steps, gone = list[_Step](), 0
    while count := next_step(group, gone, multiple=multiple, least=least):
        own = order[gone : gone + count]
        units = tuple(group.units[place] for place in own)
        steps.append(_Step(group, units, float(scores[own].sum())))
        gone += count
    return steps


def next_step(group: Group, gone: int, *, multiple: int, least: float) -> int:
    """Return how many units go next, so that the width becomes the next lower multiple; 0: none."""
    grain = math.lcm(multiple, group.width) // group.width  # units in a multiple
    whole = len(group.units)
    target = math.ceil((whole - gone) / grain - 1) * grain
    floor = max(grain, math.ceil(least / group.width / grain - 1e-9) * grain)
    return whole - gone - target if target >= floor else 0

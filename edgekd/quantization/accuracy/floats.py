"""Mixed precision: leave the fewest layers in float with which the outputs follow as wanted.

Rounding errors of the layers add up in the outputs. Where most of the error comes from a layer that
gains little from INT8, the file gets it right by leaving that layer as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

from edgekd.quantization.accuracy.workshop import Repaired, Trial
from edgekd.quantization.proof import decibel

_MOST_COST = 0.35
"""Of what INT8 saves: where INT8 is three times as fast as float, a file that gives this much back
is still 1.8 times as fast; with half of it the copies to and from INT8 may take the rest."""
_RANKED_ON = 4
"""Samples for the order of the layers. Whether it is enough is decided on all."""
_MOST_LAYERS = 64
"""Each layer costs a run over the samples. Of deeper networks those are tried whose own errors are
the greatest."""
_AT_LEAST = 0.05
"""Of the cost: layers below it cost next to no time in float, so that only their error counts, and
not which of them is the smallest."""

_MOST_PUT_BACK = 8
"""Layers that are tried in INT8 again once the others are in float: each costs a run."""

Costs = Callable[[Repaired], Mapping[str, float]]
"""Returns the share of what INT8 saves that each layer gives back in float."""


@dataclass(frozen=True)
class Found:
    """A trial with a few layers in float, or as it was."""

    trial: Trial
    without_db: Mapping[str, float] = field(default_factory=dict)
    """Signal to noise with each layer alone in float."""
    cost: float = 0.0
    """The share of what INT8 saves that the layers in float give back."""


def leave_in_float(
    repaired: Repaired,
    trial: Trial,
    costs: Costs,
    *,
    wanted_db: float,
    is_enough: Callable[[Trial], bool],
) -> Found:
    """Return the trial, or one with a few layers less that is enough.

    Args:
        repaired: the graph with its repairs.
        trial: of it, with nothing left in float.
        costs: returns what each layer costs in float.
        wanted_db: signal to noise of the worst output, for the reasons.
        is_enough: whether a trial is as accurate as it must be.
    """
    noise, plan = trial.noise, trial.plan
    if is_enough(trial) or len(plan.layers) < 2:
        return Found(trial)
    outputs = {
        node.name: node.output[0]
        for node in repaired.source.model.graph.node
        if node.name in plan.layers
    }
    reason = _reason(noise, wanted_db)
    tried = list(outputs)
    if len(tried) > _MOST_LAYERS:
        errors = repaired.rank()
        tried.sort(key=lambda name: -errors[name].noise if name in errors else 0.0)
        tried = tried[:_MOST_LAYERS]
    few = replace(repaired, answers=repaired.answers.head(_RANKED_ON))
    begin = few.answers.worst(trial.graph)
    without = {name: few.build({outputs[name]: reason}).noise for name in tried}
    saved = {name: begin - other for name, other in without.items() if other < begin}
    cost = costs(repaired)
    order = sorted(saved, key=lambda name: -saved[name] / max(cost.get(name, 1.0), _AT_LEAST))
    found = _add(repaired, order, outputs, cost, reason, is_enough) or trial
    left = plan.layers.keys() - found.plan.layers.keys()
    return Found(
        found,
        {name: decibel(other) for name, other in without.items()},
        sum(cost.get(name, 1.0) for name in left),
    )


def _reason(noise: float, wanted_db: float) -> str:
    if not isfinite(noise):
        return "with it in INT8 the file does not run, or gives NaN or infinity"
    if decibel(noise) >= wanted_db:
        return "with it in INT8 the quality on the validation split exceeds the budget"
    return (
        f"with it in INT8 the outputs follow the float file at {decibel(noise):.0f} dB only; "
        f"{wanted_db:.0f} dB are wanted"
    )


def _add(
    repaired: Repaired,
    order: list[str],
    outputs: Mapping[str, str],
    cost: Mapping[str, float],
    reason: str,
    is_enough: Callable[[Trial], bool],
) -> Trial | None:
    """Leave the first layers of an order in float, as few as are enough.

    Returns:
        None: as many as may be given back are not enough.
    """

    def build(names: Sequence[str]) -> Trial | None:
        trial = repaired.build({outputs[name]: reason for name in names})
        return trial if trial.plan.layers and is_enough(trial) else None

    left: list[str] = []
    for name in order:
        if sum(cost.get(one, 1.0) for one in [*left, name]) <= _MOST_COST:
            left.append(name)
    found = build(left) if left else None
    if found is None:
        return None
    least, most = 1, len(left)
    while least < most:  # each further layer takes noise out, or nearly so
        middle = (least + most) // 2
        trial = build(left[:middle])
        if trial is None:
            least = middle + 1
        else:
            most, found = middle, trial
    left = left[:most]
    for name in left[:-1][:_MOST_PUT_BACK]:  # the last one was needed
        trial = build([one for one in left if one != name])
        if trial is not None:
            left.remove(name)
            found = trial
    return found

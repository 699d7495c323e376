"""Derive a student from a trained network: the channels that its answers need most, of each layer.

What is left is a share of the multiplications. How wide each layer stays follows from what its
channels mean for the distillation loss (`channels.importance`) and from what they cost
(`channels.widths`); its weights are the teacher's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from edgekd.data.batches import Data
from edgekd.errors import NothingToDo, one_line
from edgekd.networks.blueprint import named
from edgekd.networks.channels.cut import (
    Removable,
    by_weights,
    edit_without,
    find_removable,
    provable,
)
from edgekd.networks.channels.graph import Group, Select
from edgekd.networks.channels.importance import draw_direction, measure_importance
from edgekd.networks.channels.widths import choose_removed
from edgekd.networks.copying import copy_network
from edgekd.networks.edits import apply_edit
from edgekd.networks.macs import count_macs
from edgekd.networks.outputs import select_outputs
from edgekd.networks.shrink import find_in_bounds
from edgekd.networks.statistics import reestimate_statistics
from edgekd.networks.trainable import Model
from edgekd.tasks.task import SignalKind, Task

MULTIPLE = 8
"""Step of the kept widths: vectors of floats and bytes hold as many, and most kernels pad to it."""
POWERS = (2.0, 1.0, 0.6)
"""A width stays at least as large as the asked share to one of these powers; at 0.5 all are nearly
equal. Where layers have much to spare the first is best, in a compact network the last."""
SAMPLES = 1024
"""Training samples that importance is measured on; as many more give batch statistics."""
ROUNDS = 3
"""How often the importance is measured: of two channels that stand for each other both seem to
matter little, until one is gone."""
BATCH = 16
DRAWS = 2
"""Directions drawn for each batch; each costs a backward pass."""
NEAR = 0.05
"""By how much the share of multiplications may miss what was asked before it is said."""


@dataclass(frozen=True)
class Probe:
    """What a student is derived with: data, task, and how much of them."""

    data: Data
    task: Task
    temperature: float
    seed: int
    samples: int = SAMPLES

    def batches(self, model: Model, *, size: int, order: int) -> Iterator[dict[str, Tensor]]:
        """Yield inputs of the network by name: `samples` of the training split, shuffled."""
        count = 0
        for batch in self.data.batches("train", model.preprocess, size=size, order=order):
            yield {name: torch.as_tensor(array) for name, array in batch.inputs[0].items()}
            count += size
            if count >= self.samples:
                return


def derived(
    model: Model,
    probe: Probe,
    *,
    macs: float,
    rounds: int = ROUNDS,
    powers: Sequence[float] = POWERS,
    way_out: str = "",
) -> Model:
    """Return a new Model with the share `macs` of the multiplications; its edits are recorded.

    Each round measures the importance again, on what the round before left. Batch statistics are
    estimated again after each. For each of `powers` a student is cut; that one is returned whose
    answers are nearest to the teacher's. What could not be done as asked is in the notes: channels
    that stay, a share that is out of reach, importance by the size of the weights where there are
    no gradients.

    Raises:
        NothingToDo: no channels can be removed; `way_out` is added to the reason.
    """
    model = model.plain()
    body = copy_network(model.body).float().eval()
    for parameter in body.parameters():  # it learns, also where the whole was frozen
        parameter.requires_grad_(parameter.is_floating_point())
    start = replace(model, body=body, notes=())
    whole, tried = _count(start, probe), list[tuple[float, Model]]()
    for power in powers:
        try:
            one = _cut_in_rounds(start, probe, whole, macs, rounds, macs**power, way_out)
        except NothingToDo:
            if power == powers[0]:  # the others let more stay
                raise
            continue
        tried.append((_count(one, probe) / whole, one))
    near = [one for one in tried if one[0] <= macs + NEAR]
    if not near:
        near = [min(tried, key=lambda one: one[0])]
    share, found = near[0]
    if len(near) > 1:
        share, found = min(near, key=lambda one: distance(start, one[1], probe))
    notes = list(found.notes)
    if share > macs + NEAR:
        notes.append(
            f"the student has {share:.0%} of the teacher's multiplications, not {macs:.0%}: "
            f"{_reasons(found.left) or 'no width can be smaller'}; {way_out}"
        )
    return replace(found, notes=tuple(dict.fromkeys(notes)))


def distance(teacher: Model, student: Model, probe: Probe) -> float:
    """Return how far the student's outputs are from the teacher's, on training samples.

    It is the mean over batches of the loss of soft targets: the divergence of class scores at the
    temperature, else the mean squared difference.
    """
    total, count = 0.0, 0
    both = [model.deployed(probe.task).eval() for model in (teacher, student)]
    with torch.no_grad():
        for batch in probe.batches(teacher, size=64, order=2):
            its, own = (named(deployed, batch) for deployed in both)
            for name, kind in probe.task.signals.items():
                total += _apart(its[name].float(), own[name].float(), kind, probe.temperature)
            count += 1
    return total / max(1, count)


def _apart(its: Tensor, own: Tensor, kind: SignalKind, temperature: float) -> float:
    if kind not in ("classes", "class map"):
        return float((its - own).square().mean())
    rows = [torch.log_softmax(x.movedim(1, -1) / temperature, dim=-1) for x in (its, own)]
    return float((rows[0].exp() * (rows[0] - rows[1])).sum(-1).mean()) * temperature**2


def _cut_in_rounds(
    start: Model,
    probe: Probe,
    whole: float,
    macs: float,
    rounds: int,
    least: float,
    way_out: str,
) -> Model:
    found, notes, floors = start, list[str](), dict[str, float]()
    for number in range(1, rounds + 1):
        target = whole * macs ** (number / rounds)
        try:
            found, more = _narrowed(found, probe, target, least, floors, way_out)
        except NothingToDo:
            if found is start:
                raise
            break
        notes += more
    return replace(found, notes=tuple(notes))


def _narrowed(
    model: Model,
    probe: Probe,
    target: float,
    least: float,
    floors: dict[str, float],
    way_out: str,
) -> tuple[Model, list[str]]:
    """Return the model with about `target` multiplications, and notes.

    `least` is the share of a width that stays at least; `floors` are the channels that this means,
    by the first layer of their group, set when it is first met.
    """
    inputs, select = _example(model, probe)
    work = partial(
        find_removable, model.body, inputs, multiple=MULTIPLE, select=select, way_out=way_out
    )
    removable: Removable = find_in_bounds(work, model.blueprint)
    scores, notes = _scores(model, probe, removable.groups)
    for group in removable.groups:
        floors.setdefault(group.name, least * len(group.units) * group.width)
    counted = count_macs(model.body, *inputs)
    wanted = choose_removed(
        scores,
        macs={name: value / 2 for name, value in counted.by_weight.items()},
        sizes={name: tuple(p.shape) for name, p in model.body.named_parameters()},
        removed=counted.total / 2 - target,
        multiple=MULTIPLE,
        least={group: floors[group.name] for group in removable.groups},
    )
    check = partial(provable, model.body, inputs, wanted, select=select)
    removed, left = find_in_bounds(check, model.blueprint)
    if not removed:
        raise NothingToDo(
            f"a student with {target / (counted.total / 2):.0%} of its multiplications cannot be "
            "cut from it: "
            f"{_reasons({**removable.left, **left}) or 'every width is as small as it may be'}; "
            f"{way_out}"
        )
    edit = edit_without(model.body, removed)
    body = apply_edit(copy_network(model.body), edit)
    blueprint = replace(model.blueprint, edits=(*model.blueprint.edits, edit))
    thin = replace(model, body=body, blueprint=blueprint, left={**removable.left, **left})
    deployed = thin.deployed(probe.task).eval()
    order = probe.batches(thin, size=64, order=1)
    reestimate_statistics(body, (deployed.body_inputs(*batch.values()) for batch in order))
    return thin, notes


def _example(model: Model, probe: Probe) -> tuple[tuple[Any, ...], Select]:
    """Return inputs of two samples for the body, and what of its result counts."""
    batch = next(probe.data.batches("train", model.preprocess, size=2))
    deployed = model.deployed(probe.task).eval()
    inputs = deployed.body_inputs(*(torch.as_tensor(array) for array in batch.inputs[0].values()))
    name = type(model.body).__name__
    return inputs, lambda result: select_outputs(result, deployed.outputs, name, more=False)


def _reasons(left: Mapping[str, str]) -> str:
    shown = "; ".join(f"{name}: {reason}" for name, reason in list(left.items())[:3])
    return f"{len(left)} layers keep their channels ({shown})" if left else ""


def _count(model: Model, probe: Probe) -> float:
    inputs, _ = _example(model, probe)
    return count_macs(model.body, *inputs).total / 2  # of two samples


def _scores(
    model: Model, probe: Probe, groups: Sequence[Group]
) -> tuple[Mapping[Group, Tensor], list[str]]:
    """Return the importance of every unit; by the size of its weights where there is no other."""
    try:
        found = measure_importance(model.body, groups, _scalars(model, probe))
    except RuntimeError as error:  # a forward without gradients, or one that torch cannot reverse
        reason = f"torch cannot differentiate it ({one_line(error)[:200]})"
    else:
        total = sum(float(scores.sum()) for scores in found.values())
        if 0 < total < math.inf:
            return found, []
        reason = "its gradients are zero, or no finite numbers"
    note = f"which channels the student keeps is decided by the size of their weights: {reason}"
    return by_weights(model.body, groups), [note]


def _scalars(model: Model, probe: Probe) -> Iterator[Tensor]:
    """Yield what is differentiated: the outputs along random directions, batch by batch."""
    generator = torch.Generator().manual_seed(probe.seed)
    deployed = model.deployed(probe.task).eval()
    for batch in probe.batches(model, size=BATCH, order=0):
        outputs = named(deployed, batch)
        for _ in range(DRAWS):
            yield torch.stack(
                [
                    (
                        output.float()
                        * draw_direction(
                            output,
                            probe.task.signals[name],
                            temperature=probe.temperature,
                            generator=generator,
                        )
                    ).sum()
                    for name, output in outputs.items()
                ]
            ).sum()

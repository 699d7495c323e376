"""Make a network with fewer channels that inherits weights: for `prune` and cut students."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TypeVar

import torch
from torch import nn

from edgekd.data.batches import Data
from edgekd.errors import NothingToDo
from edgekd.networks.blueprint import Blueprint
from edgekd.networks.bounded import GIB, Bounds, OutOfBounds, free_bytes, run_bounded
from edgekd.networks.channels.cut import find_cut
from edgekd.networks.channels.graph import capture
from edgekd.networks.copying import copy_network
from edgekd.networks.edits import apply_edit
from edgekd.networks.outputs import select_outputs
from edgekd.networks.trainable import Model
from edgekd.tasks.task import Task
from edgekd.wording import option

T = TypeVar("T")
BOUNDS = Bounds(cpu_s=120, wall_s=600, memory_bytes=4 * GIB)
"""What finding the channels may take: the trace, the groups and their proof."""
_beyond: dict[str, str] = {}
"""Networks that took too long already, with the reason: they are not tried again."""


def thinned(
    model: Model,
    data: Data,
    task: Task,
    *,
    ratio: float,
    multiple: int = 16,
    keep: Sequence[str] = (),
    advice: str = "",
    way_out: str = "",
) -> Model:
    """Return a new Model with `ratio` of its channels removed; the edit is in its blueprint.

    `advice` is added to the reason where the ratio removes nothing, `way_out` where none could.

    Raises:
        NothingToDo: there is nothing to remove.
        ModelError: a name in `keep` is not that of a layer.
    """
    model = model.plain()
    batch = next(data.batches("train", model.preprocess, size=2))
    deployed = model.deployed(task).eval()
    inputs = [torch.as_tensor(array) for array in batch.inputs[0].values()]
    example = deployed.body_inputs(*inputs)
    name = type(model.body).__name__
    work = partial(
        find_cut,
        model.body,
        example,
        ratio=ratio,
        multiple=multiple,
        keep=keep,
        select=lambda result: select_outputs(result, deployed.outputs, name, more=False),
        advice=advice,
        way_out=way_out,
    )
    found = find_in_bounds(work, model.blueprint)
    network = apply_edit(copy_network(model.body), found.edit)
    for parameter in network.parameters():  # it learns, also where the whole was frozen
        parameter.requires_grad_(parameter.is_floating_point())
    blueprint = replace(model.blueprint, edits=(*model.blueprint.edits, dict(found.edit)))
    return replace(model, body=network, blueprint=blueprint, notes=(), left=found.left)


def find_in_bounds(work: Callable[[], T], blueprint: Blueprint, *, bounds: Bounds = BOUNDS) -> T:
    """Do `work` in a child with bounds, so that no network can hold up the job with its trace.

    Raises:
        NothingToDo: it took too much, now or the last time for the same `blueprint`.
    """
    key = json.dumps(asdict(blueprint), sort_keys=True, default=str)
    if key in _beyond:
        raise NothingToDo(_beyond[key])
    _prepare()
    free = free_bytes()
    if free is not None and free // 2 < bounds.memory_bytes:
        bounds = replace(bounds, memory_bytes=free // 2)
    try:
        return run_bounded(work, bounds)
    except OutOfBounds as signal:
        _beyond[key] = (
            f"its channels cannot be followed: {signal}. Loops in forward are traced turn by "
            "turn, and what repeats is traced every time; a smaller network of your own can be "
            f"the student ({option('distill.student.build')})"
        )
        raise NothingToDo(_beyond[key]) from signal


@functools.cache
def _prepare() -> None:
    """Load once what the first capture of a process loads, and not in every child."""
    capture(nn.Linear(1, 1), (torch.zeros(2, 1),))

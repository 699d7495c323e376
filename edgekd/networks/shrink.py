"""Make a network with fewer channels that inherits weights: for `prune` and cut students."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from edgekd.data.batches import Data
from edgekd.errors import NothingToDo
from edgekd.networks.channels.cut import thin
from edgekd.networks.trainable import Model
from edgekd.tasks.task import Task


def thinned(
    model: Model,
    data: Data,
    task: Task,
    *,
    ratio: float,
    multiple: int = 16,
    keep: Sequence[str] = (),
    advice: str = "",
) -> Model:
    """Return a new Model with `ratio` of its channels removed; the edit is in its blueprint.

    `advice` is added to the reason where the ratio removes nothing.

    Raises:
        NothingToDo: there is nothing to remove.
        ModelError: a name in `keep` is not that of a layer.
    """
    model = model.plain()
    batch = next(data.batches("train", model.preprocess, size=2))
    deployed = model.deployed(task).eval()
    inputs = [torch.as_tensor(array) for array in batch.inputs[0].values()]
    example = deployed.body_inputs(*inputs)
    try:
        found = thin(model.body, example, ratio=ratio, multiple=multiple, keep=keep)
    except NothingToDo as signal:
        if "removes nothing" not in str(signal) or not advice:
            raise
        raise NothingToDo(f"{signal}; {advice}") from signal
    for parameter in found.network.parameters():  # it learns, also where the whole was frozen
        parameter.requires_grad_(parameter.is_floating_point())
    blueprint = replace(model.blueprint, edits=(*model.blueprint.edits, dict(found.edit)))
    return replace(model, body=found.network, blueprint=blueprint, left=found.left)

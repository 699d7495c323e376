"""A model with fewer channels, its weights inherited: for `prune` and cut students."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from edgekd.networks.channels import thin
from edgekd.networks.trainable import Model
from edgekd.step import Context


def thinned(
    model: Model, context: Context, *, ratio: float, multiple: int = 16, keep: Sequence[str] = ()
) -> Model:
    """Return a new Model with `ratio` of its channels removed; the edit is in its blueprint.

    Raises:
        ModelError: the network cannot be followed, or there is nothing to remove.
    """
    batch = next(context.data.batches("train", model.preprocess, size=2))
    deployed = model.deployed(context.task).eval()
    inputs = [torch.as_tensor(array) for array in batch.inputs[0].values()]
    example = deployed.body_inputs(*inputs)
    body, edit = thin(model.body, example, ratio=ratio, multiple=multiple, keep=keep)
    blueprint = replace(model.blueprint, edits=(*model.blueprint.edits, edit))
    return Model(body, blueprint, model.preprocess)

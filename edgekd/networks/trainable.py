"""Load a network for training and export, from a stage or from a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from edgekd.data.preprocess import Preprocess, read_preprocess, write_preprocess
from edgekd.errors import ModelError
from edgekd.networks.blueprint import (
    Blueprint,
    Deployed,
    build_network,
    load_network,
    load_weights,
    named,
    save_network,
)
from edgekd.networks.channel_notes import read_left, write_left
from edgekd.networks.parametrized import has_computed_weights, make_plain
from edgekd.networks.spec import NetworkSpec, find_weights
from edgekd.tasks.task import Arrays, Predictor, Task


@dataclass(frozen=True)
class Model:
    """A network, how it was built, and how samples become its inputs."""

    body: nn.Module
    blueprint: Blueprint
    preprocess: Preprocess
    notes: tuple[str, ...] = ()
    """Notes for the user on what was found or changed."""
    left: Mapping[str, str] = field(default_factory=dict)
    """Layer -> why it lost no channels, where others did."""

    def plain(self) -> Model:
        """Return it with computed weights replaced by their values; the body is changed in place.

        It computes the same in evaluation mode, and can be copied, cut and exported.
        """
        if not has_computed_weights(self.body):
            return self
        edits = (*self.blueprint.edits, {"op": "plain"})
        return replace(
            self, body=make_plain(self.body), blueprint=replace(self.blueprint, edits=edits)
        )

    def deployed(self, task: Task) -> Deployed:
        """Return it with the part of its preprocessing that ships inside the graph."""
        return Deployed(self.body, self.preprocess, tuple(task.signals))

    def save(self, folder: Path) -> None:
        """Write `model.pt`, `preprocess.json` and, if channels were left, `channels.json`."""
        save_network(self.body, self.blueprint, folder / "model.pt")
        write_preprocess(folder, self.preprocess)
        write_left(folder, self.left)


def create_model(spec: NetworkSpec, preprocess: Preprocess, *, root: Path) -> Model:
    """Build the network that a recipe names and load its weights, if it names any.

    Raises:
        ModelError: the input has a layout that is not the one in which networks take images.
    """
    if preprocess.kind == "image" and preprocess.layout is not None:
        raise ModelError(
            f"input.layout is for ONNX files; {spec.build} gets images as [batch, channels, "
            "height, width]: permute them in its forward, and leave input.layout out"
        )
    blueprint = Blueprint(spec.build, spec.options)
    body, note = build_loaded(spec, root=root)
    return Model(body, blueprint, preprocess, (note,) if note else ())


def build_loaded(spec: NetworkSpec, *, root: Path) -> tuple[nn.Module, str]:
    """Build the network that a recipe names and load its weights; also where these were found.

    Raises:
        ModelError: it cannot be built, or the weights do not fit.
    """
    body = build_network(Blueprint(spec.build, spec.options), root=root)
    if spec.weights is None:
        return body, ""
    path = find_weights(spec.weights, root)
    return body, load_weights(body, path, replace_head=spec.replace_head)


def predictor_of(model: Model, task: Task) -> Predictor:
    """Return a function from named inputs to named outputs, in evaluation mode for each call."""

    def predict(inputs: Arrays) -> Arrays:
        modes = [(module, module.training) for module in model.body.modules()]
        deployed = model.deployed(task).eval()
        try:
            with torch.no_grad():
                answers = named(deployed, {n: torch.as_tensor(a) for n, a in inputs.items()})
        finally:
            for module, mode in modes:
                module.training = mode
        return {name: tensor.numpy() for name, tensor in answers.items()}

    return predict


def open_model(folder: Path, *, root: Path) -> Model:
    """Open what `save` wrote; a builder in a file of the user's is looked for below `root`."""
    body, blueprint = load_network(folder / "model.pt", root=root)
    return Model(body, blueprint, read_preprocess(folder), left=read_left(folder))

"""From what is on disk or in a recipe to a network that can be trained and exported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from edgekd.data.preprocess import Preprocess, read_preprocess, write_preprocess
from edgekd.networks.blueprint import (
    Blueprint,
    Deployed,
    build_network,
    load_network,
    load_weights,
    save_network,
)
from edgekd.networks.spec import NetworkSpec, weights_path
from edgekd.tasks.task import Task


@dataclass(frozen=True)
class Model:
    """A network, how it was built, and how samples become its inputs."""

    body: nn.Module
    blueprint: Blueprint
    preprocess: Preprocess

    def deployed(self, task: Task) -> Deployed:
        """Return it with the part of its preprocessing that ships inside the graph."""
        return Deployed(self.body, self.preprocess, tuple(task.signals))

    def save(self, folder: Path) -> None:
        """Write `model.pt` and `preprocess.json`."""
        save_network(self.body, self.blueprint, folder / "model.pt")
        write_preprocess(folder, self.preprocess)


def new_model(spec: NetworkSpec, preprocess: Preprocess, *, root: Path) -> Model:
    """Build the network that a recipe names and load its weights, if it names any."""
    blueprint = Blueprint(spec.build, spec.options)
    body = build_network(blueprint, root=root)
    if spec.weights is not None:
        path = weights_path(spec.weights, root)
        load_weights(body, path, replace_head=spec.replace_head)
    return Model(body, blueprint, preprocess)


def open_model(folder: Path, *, root: Path) -> Model:
    """Open what `save` wrote; a builder in a file of the user's is looked for below `root`."""
    body, blueprint = load_network(folder / "model.pt", root=root)
    return Model(body, blueprint, read_preprocess(folder))

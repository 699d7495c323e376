"""Load a network for training and export, from a stage or from a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from edgekd.data.batches import Data
from edgekd.data.input_options import InputSpec
from edgekd.data.preprocess import Preprocess, read_preprocess, write_preprocess
from edgekd.data.text_preprocess import TextInputs
from edgekd.data.tokenizers import largest_number
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
from edgekd.networks.builder_options import Known, fill_options, options_for_a_try, stated
from edgekd.networks.channel_notes import read_left, write_left
from edgekd.networks.edits import apply_edit, is_lazy, run_edit
from edgekd.networks.parametrized import has_computed_weights, make_plain
from edgekd.networks.spec import NetworkSpec, find_weights
from edgekd.networks.text_fit import Asked, fit_text
from edgekd.tasks.task import Arrays, Predictor, Task
from edgekd.user_code import resolve


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
        scores = [name for name, kind in task.signals.items() if kind == "classes"]
        return Deployed(
            self.body,
            self.preprocess,
            tuple(task.signals),
            self.blueprint.call,
            scores=scores,
        )

    def save(self, folder: Path) -> None:
        """Write `model.pt`, `preprocess.json` and, if channels were left, `channels.json`."""
        save_network(self.body, self.blueprint, folder / "model.pt")
        write_preprocess(folder, self.preprocess)
        write_left(folder, self.left)


def create_model(
    spec: NetworkSpec,
    preprocess: Preprocess,
    *,
    root: Path,
    data: Data | None = None,
    given: InputSpec | None = None,
) -> Model:
    """Build the network that a recipe names and load its weights, if it names any.

    Lazy layers get their shapes from the data.

    Args:
        spec: of the recipe.
        preprocess: how samples become its inputs. For texts it is fitted to what the network takes.
        root: relative paths start here.
        data: its number of classes and its texts answer what the builder and the network ask for.
        given: the input options of the recipe.

    Raises:
        ModelError: the input has a layout that is not the one in which networks take images, or
            the network takes no texts; a lazy network cannot take the data.
    """
    if preprocess.kind == "image" and preprocess.layout is not None:
        raise ModelError(
            f"input.layout is for ONNX files; {spec.build} gets images as [batch, channels, "
            "height, width]: permute them in its forward, and leave input.layout out"
        )
    notes: tuple[str, ...] = ()
    if data is not None:
        spec, preprocess, notes = _answered(spec, preprocess, data, given or InputSpec(), root)
    blueprint = Blueprint(spec.build, spec.options)
    body, note = build_loaded(spec, root=root)
    notes += (note,) if note else ()
    if isinstance(preprocess, TextInputs) and data is not None:
        fitted = fit_text(body, preprocess, data.texts(), _asked(spec, given or InputSpec(), root))
        preprocess, notes = fitted.preprocess, (*notes, *fitted.notes)
        blueprint = replace(blueprint, call=fitted.call.to_json())
    elif data is not None and is_lazy(body):
        batch = next(data.batches("train", preprocess, size=2))
        inputs = [torch.as_tensor(array) for array in batch.inputs[0].values()]
        edit = run_edit(Deployed(body, preprocess, ()).body_inputs(*inputs))
        body = apply_edit(body, edit)
        blueprint = replace(blueprint, edits=(edit,))
    return Model(body, blueprint, preprocess, notes)


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


def build_early(spec: NetworkSpec, *, root: Path) -> nn.Module:
    """Build the network before the data is known; weights are loaded if they can already fit.

    Raises:
        ModelError: it cannot be built, or the weights do not fit.
    """
    open_options = options_for_a_try(resolve(spec.build, root=root), spec.options)
    if not open_options:
        return build_loaded(spec, root=root)[0]
    return build_network(Blueprint(spec.build, {**spec.options, **open_options}), root=root)


def _answered(
    spec: NetworkSpec, preprocess: Preprocess, data: Data, given: InputSpec, root: Path
) -> tuple[NetworkSpec, Preprocess, tuple[str, ...]]:
    """Return the options that the builder asks for, and notes that name them."""
    builder = resolve(spec.build, root=root)
    known: dict[Known, int] = {"classes": data.answers} if data.answers else {}
    also: frozenset[Known] = frozenset()
    if isinstance(preprocess, TextInputs):
        length = stated(builder, spec.options, "length")
        if length is not None and given.max_length is None and 0 < length < preprocess.max_length:
            preprocess = preprocess.changed(max_length=length)
        known |= {"vocabulary": 1 + largest_number(preprocess, data.texts())}
        known |= {"padding": preprocess.padding, "length": preprocess.max_length}
        also = frozenset({"padding"}) if spec.weights is None else also
    filled = fill_options(builder, spec.options, known, also=also)
    if not filled:
        return spec, preprocess, ()
    said = ", ".join(f"{name} = {value}" for name, value in filled.items())
    spec = spec.model_copy(update={"options": {**spec.options, **filled}})
    return spec, preprocess, (f"{spec.build} gets {said}",)


def _asked(spec: NetworkSpec, given: InputSpec, root: Path) -> Asked:
    builder = resolve(spec.build, root=root)
    length = stated(builder, spec.options, "length")
    return Asked(
        name=spec.build,
        max_length=given.max_length is not None,
        fixed_length=given.fixed_length,
        padding=given.padding is not None,
        own_words=given.vocabulary is None,
        lengths=() if length is None else (length,),
    )


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

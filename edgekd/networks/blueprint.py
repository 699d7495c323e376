"""How a network is built, edited, saved and loaded; and how it ships: `Deployed`.

`model.pt` contains the builder's name and options, the ordered edits, and the weights: no pickled
class, so that code may move and a thinned network can be rebuilt before its weights are loaded.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from edgekd.errors import EdgekdError, ModelError
from edgekd.networks.copying import unwrap
from edgekd.networks.edits import apply_edit
from edgekd.networks.outputs import name_outputs, select_outputs
from edgekd.networks.recurrent import any_order
from edgekd.networks.text_call import text_call_of
from edgekd.networks.weights import fill, load_weights, read_torch
from edgekd.store import write_atomic
from edgekd.user_code import blame, resolve, title
from edgekd.wording import option

__all__ = [
    "Blueprint",
    "Deployed",
    "Preprocessing",
    "build_network",
    "load_network",
    "load_weights",
    "name_outputs",
    "named",
    "parameters",
    "save_network",
]


class Preprocessing(Protocol):
    """The part of a Preprocess that `Deployed` uses."""

    @property
    def kind(self) -> str:
        """`image`, `array` or `text`."""

    @property
    def input_names(self) -> tuple[str, ...]:
        """The network's inputs, in order."""


class ImagePreprocessing(Preprocessing, Protocol):
    """The same for kind `image`; mean and std are per channel, in pixel units 0..255."""

    @property
    def in_graph(self) -> bool:
        """Whether the network normalises by itself."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Subtracted first."""

    @property
    def std(self) -> tuple[float, ...]:
        """Divided by then."""


@dataclass(frozen=True)
class Blueprint:
    """How to build a network: a builder (see `edgekd.user_code`), its options, then the edits."""

    build: str
    options: Mapping[str, Any]
    edits: tuple[Mapping[str, Any], ...] = ()
    call: Mapping[str, Any] | None = None
    """How it is called with texts, see `edgekd.networks.text_call`; None: with its inputs."""


def build_network(blueprint: Blueprint, *, root: Path) -> nn.Module:
    """Build the network afresh, in training mode, and replay its edits.

    Weights of half or double precision become float32, in which networks are trained and exported.

    Raises:
        ModelError: the builder cannot be found, refuses its options, fails, or returns no network.
    """
    builder = resolve(blueprint.build, root=root)
    _check_options(builder, blueprint)
    try:
        network = builder(**blueprint.options)
    except EdgekdError:
        raise
    except Exception as error:
        raise ModelError(
            f"{title(blueprint.build)} failed at {blame(error)} with {type(error).__name__}: "
            f"{error}; "
            f"correct it there, or its options ({dict(blueprint.options)})"
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"{title(blueprint.build)} returned {type(network).__name__}, expected a "
            "torch.nn.Module; "
            "let it return the network itself"
        )
    if isinstance(network, torch.jit.ScriptModule):
        raise ModelError(
            f"{title(blueprint.build)} returned a TorchScript module, whose code can be neither "
            "trained further nor exported here; return the nn.Module that it was made of"
        )
    network = unwrap(network)
    if any(p.is_floating_point() and p.dtype != torch.float32 for p in network.parameters()):
        network.float()
    for edit in blueprint.edits:
        network = apply_edit(network, edit)
    call = text_call_of(blueprint.call)
    if call is not None:
        call.settle(network)
    return network


def _check_options(builder: Callable[..., Any], blueprint: Blueprint) -> None:
    try:
        signature = inspect.signature(builder)
    except ValueError:
        return  # some callables written in C have no signature
    try:
        signature.bind(**blueprint.options)
    except TypeError as error:
        missing = [
            one.name
            for one in signature.parameters.values()
            if one.default is one.empty
            and one.name not in blueprint.options
            and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
        ]
        how = option(f"model.options.{missing[0]}") if missing else ""
        raise ModelError(
            f"the options {dict(blueprint.options)} do not fit {title(blueprint.build)}: {error}; "
            f"it takes {signature}{f'; give what is missing: {how}' if how else ''}"
        ) from error


def parameters(network: nn.Module) -> int:
    """Return the number of parameters, shared ones counted once.

    As in an ONNX file, buffers of floating-point numbers count, such as a mean inside the network.
    Statistics of norm layers do not: they go into the weights beside them.
    """
    buffers = (
        buffer.numel()
        for module in network.modules()
        if not isinstance(module, nn.modules.batchnorm._NormBase)
        for buffer in module.buffers(recurse=False)
        if buffer.is_floating_point() and buffer.dim()
    )
    return sum(parameter.numel() for parameter in network.parameters()) + sum(buffers)


def save_network(network: nn.Module, blueprint: Blueprint, path: Path) -> None:
    """Write `network` and its blueprint to `path`, atomically; equal values give equal bytes.

    Raises:
        ModelError: the options or edits are not plain data that JSON can represent.
    """
    try:
        text = json.dumps(dataclasses.asdict(blueprint), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"the options of {title(blueprint.build)} cannot be saved ({error}); "
            "give numbers, texts, lists and tables only"
        ) from error
    state = {
        # a copy: a view would bring the whole of its storage along
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
    }
    # Read back, no string is one object with a weight's name, which pickle would write otherwise;
    # through a buffer, because torch.save writes a file's own name into its bytes.
    buffer = io.BytesIO()
    torch.save({**json.loads(text), "state": state}, buffer)
    write_atomic(path, buffer.getvalue())


def load_network(path: Path, *, root: Path) -> tuple[nn.Module, Blueprint]:
    """Rebuild the network of a `model.pt`, in training mode on the CPU, with its weights.

    Raises:
        ModelError: the file is none, or the builder no longer gives the network it was saved from.
    """
    held = read_torch(path)
    if not isinstance(held, dict) or set(held) != {"build", "options", "edits", "call", "state"}:
        raise ModelError(
            f"{path} is not a model.pt of edgekd: it does not name the function that builds the "
            "network. Give plain weights as `weights` next to `build` in the recipe"
        )
    blueprint = Blueprint(held["build"], held["options"], tuple(held["edits"]), held["call"])
    network = build_network(blueprint, root=root)
    advice = f"{title(blueprint.build)} builds another network than before: restore that version"
    fill(network, held["state"], path, advice=advice)
    return network, blueprint


class Deployed(nn.Module):
    """A network with the part of its preprocessing that ships inside the graph.

    Images with `in_graph` come in as uint8 [batch, height, width, channels] and reach the body as
    (x - mean) / std, float [batch, channels, height, width]. All else is passed through.

    Attributes:
        body: the network itself; its state_dict is saved.
        outputs: the names of what comes out, in order.
        scores: those of them that are class scores: they come out as [batch, classes], also of a
            body that returns [batch, classes, 1, 1] or [batch, 1, classes].
    """

    mean: Tensor
    inverse_std: Tensor

    def __init__(
        self,
        body: nn.Module,
        preprocess: Preprocessing,
        outputs: Sequence[str],
        call: Mapping[str, Any] | None = None,
        *,
        scores: Sequence[str] = (),
    ) -> None:
        """Wrap `body`, which is shared, not copied; `call` is that of its blueprint."""
        super().__init__()
        self.body = body
        self.call = text_call_of(call)
        self.inputs = tuple(preprocess.input_names)
        self.outputs = tuple(outputs)
        self.scores = frozenset(scores)
        image = cast(ImagePreprocessing, preprocess)  # by its kind
        self.normalises = preprocess.kind == "image" and image.in_graph
        if self.normalises:
            mean, std = torch.tensor(image.mean), torch.tensor(image.std)
            self.register_buffer("mean", mean.reshape(-1, 1, 1), persistent=False)
            self.register_buffer("inverse_std", (1 / std).reshape(-1, 1, 1), persistent=False)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Map the inputs, in the preprocessing's order, to the outputs in the order of `outputs`.

        Raises:
            ModelError: the body returns something else than that many tensors, or other names.
        """
        sorts = self.call is not None and "lengths" in self.call.roles
        with any_order(self.body) if sorts else nullcontext():
            result = self.body(*self.body_inputs(*inputs))
        name = type(self.body).__name__
        values = select_outputs(result, self.outputs, name, more=self.training)
        return tuple(
            _class_scores(value) if name in self.scores else value
            for name, value in zip(self.outputs, values, strict=True)
        )

    def body_inputs(self, *inputs: Tensor) -> tuple[Any, ...]:
        """Return what the body sees of `inputs`."""
        if self.call is not None:
            return self.call.values(inputs[0], inputs[1] if len(inputs) > 1 else None)
        if not self.normalises:
            return inputs
        (pixels,) = inputs
        x = pixels.permute(0, 3, 1, 2).to(self.mean.dtype)
        # contiguous: a `view` of the user's after a convolution takes no other layout
        return (((x - self.mean) * self.inverse_std).contiguous(),)


def _class_scores(value: Tensor) -> Tensor:
    """Return [batch, classes, 1, 1] or [batch, 1, classes] as [batch, classes], all else as is."""
    if value.ndim < 3 or sum(length != 1 for length in value.shape[1:]) > 1:
        return value
    return value.flatten(1)


def named(deployed: Deployed, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run `deployed` on inputs by name; return its outputs by name.

    Raises:
        ModelError: an input is missing, or the body does not return the outputs.
    """
    missing = [name for name in deployed.inputs if name not in inputs]
    if missing:
        raise ModelError(
            f"the network takes {', '.join(deployed.inputs)}, but got {', '.join(inputs)}; "
            f"add {', '.join(missing)}"
        )
    # copies: a network may change its input in place, and others read the same samples
    values = deployed(*(inputs[name].clone() for name in deployed.inputs))
    return dict(zip(deployed.outputs, values, strict=True))

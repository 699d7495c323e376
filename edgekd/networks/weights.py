"""Weights from a file into a network: all of them fit, or none is loaded."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from edgekd.errors import ModelError, require

_NESTS = ("state_dict", "model_state_dict", "model", "state")
_FIT = (
    "give the options they were trained with, or replace_head = true where only the number of "
    "classes differs"
)
_PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and torch.compile


def load_weights(network: nn.Module, path: Path, *, replace_head: bool = False) -> None:
    """Load a state_dict from a .pt, .pth or .safetensors file into `network`, in place.

    It may lie one level down (`state_dict`, `model`, ...), and its names may start with `module.`.

    Args:
        network: is left as it was when the weights do not fit.
        path: the file. Pickled objects in it are refused.
        replace_head: tensors of another shape in the last layer with a weight keep the values
            they have, for fine-tuning to another number of classes.

    Raises:
        ModelError: the file cannot be read, or its tensors do not fit; the message names them.
    """
    held = _read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)
    head = _head(network) if replace_head else None
    fill(network, _state_dict(held, path), path, head=head)


def read_torch(path: Path) -> object:
    """Return what torch.save wrote: tensors and plain data only.

    Raises:
        ModelError: there is no such file, or it holds pickled objects or is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} holds pickled objects or is damaged, and pickles can run any code, so they "
            "are not loaded; save the weights alone: torch.save(network.state_dict(), path)"
        ) from error
    except Exception as error:  # a damaged file fails in any way
        raise _unreadable(path, error) from error


def _read_safetensors(path: Path) -> object:
    safetensors = require("safetensors", extra="train")
    try:
        return require("safetensors.torch", extra="train").load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ModelError:
    return ModelError(
        f"the weights {path} cannot be read ({type(error).__name__}: {error}); "
        "give a state_dict saved by torch.save (.pt, .pth) or a .safetensors file"
    )


def _state_dict(held: object, path: Path) -> dict[str, Tensor]:
    for nest in _NESTS:
        if isinstance(held, Mapping) and isinstance(held.get(nest), Mapping):
            held = held[nest]
            break
    if not isinstance(held, Mapping) or not all(isinstance(v, Tensor) for v in held.values()):
        raise ModelError(
            f"{path} holds no state_dict (names and tensors) but {_describe(held)}; "
            "save the weights alone: torch.save(network.state_dict(), path)"
        )
    state = dict(held)
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _describe(held: object) -> str:
    if not isinstance(held, Mapping):
        return type(held).__name__
    return "a table of " + ", ".join(f"{key!r}" for key in list(held)[:5])


def _head(network: nn.Module) -> str:
    """Return the name of the last layer, in the order of definition, that has a weight matrix."""
    named = [
        name
        for name, module in network.named_modules()
        if isinstance(weight := getattr(module, "weight", None), Tensor) and weight.ndim >= 2
    ]
    return named[-1] if named else ""


def fill(
    network: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    *,
    head: str | None = None,
    advice: str = _FIT,
) -> None:
    """Copy `state`, read from `path`, into `network`; the layer `head` may differ in shape.

    Raises:
        ModelError: another tensor differs in shape, is missing, or is not the network's.
    """
    own = network.state_dict()
    misshapen = [name for name in own if name in state and own[name].shape != state[name].shape]
    fresh = {name for name in misshapen if head is not None and name.rpartition(".")[0] == head}
    # batch norm did not always count its batches, and hardly any momentum asks for the count
    missing = [n for n in own if n not in state and not n.endswith("num_batches_tracked")]
    faults = [
        _some("lacks", missing),
        _some("has beside them", [name for name in state if name not in own]),
        _some(
            "has in another shape",
            [
                f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}"
                for name in misshapen
                if name not in fresh
            ],
        ),
    ]
    if any(faults):
        raise ModelError(
            f"the weights {path} do not fit this {type(network).__name__}: of its tensors the file "
            f"{'; '.join(filter(None, faults))}; {advice}"
        )
    network.load_state_dict({n: t for n, t in state.items() if n not in fresh}, strict=False)


def _some(what: str, names: Sequence[str]) -> str:
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{what} {', '.join(names[:5])}{rest}" if names else ""

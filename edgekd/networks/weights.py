"""Load weights from a file into a network: all must fit, or none is loaded."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from edgekd.errors import ModelError, few, require
from edgekd.wording import option

_MOST_NESTS = 64
"""How many tables of a checkpoint are searched: a weights file is not a file system."""


def _advise() -> str:
    return (
        "give the options they were trained with, or, if only the number of classes differs, "
        f"{option('model.replace_head', True)}"
    )


def load_weights(network: nn.Module, path: Path, *, replace_head: bool = False) -> str:
    """Load a state_dict from a .pt, .pth, .ckpt or .safetensors file into `network`, in place.

    It may lie in a table of a checkpoint (`state_dict`, `model`, `ema`, ...), and all its names may
    begin with a prefix, as those of Lightning, DistributedDataParallel and torch.compile do.

    Args:
        network: is left as it was when the weights do not fit.
        path: the file. Pickled objects in it are refused.
        replace_head: tensors of another shape in the last layer with a weight keep the values
            they have, for fine-tuning to another number of classes.

    Returns:
        Where the weights were found, if not at the top under their own names; else "".

    Raises:
        ModelError: the file cannot be read, or its tensors do not fit; the message names them.
    """
    held = _read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)
    head = _head(network) if replace_head else None
    table, prefix, state = _find_state(held, set(network.state_dict()), path)
    fill(network, state, path, head=head)
    found = [f"in its table {table!r}"] if table else []
    found += [f"under names that begin with {prefix!r}"] if prefix else []
    return f"the weights of {path.name} were found {' '.join(found)}" if found else ""


def read_torch(path: Path) -> object:
    """Return what torch.save wrote: tensors and plain data only.

    Raises:
        ModelError: the file is missing or damaged, or contains pickled objects.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} contains pickled objects or is damaged; pickles can run any code, so they "
            "are not loaded. Save only the weights: torch.save(network.state_dict(), path)"
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


def _find_state(held: object, own: set[str], path: Path) -> tuple[str, str, dict[str, Tensor]]:
    """Return the table and the prefix under which most of the names `own` are, and the tensors.

    Of tables with equally many the first wins: weights before their moving average.
    """
    tables = list(_tables(held))
    if not tables:
        raise ModelError(
            f"{path} does not contain a state_dict (names and tensors) but {_describe(held)}; "
            "save only the weights: torch.save(network.state_dict(), path)"
        )
    best: tuple[int, str, str, dict[str, Tensor]] | None = None
    for name, tensors in tables:
        for prefix in _prefixes(tensors, own):
            cut = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            hits = len(own & set(cut))
            if best is None or hits > best[0]:
                # names beside the prefix belong to something else, a loss or a metric
                best = hits, name, prefix, cut
    assert best is not None, "every table has the empty prefix"
    return best[1:]


def _tables(held: object) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield what is a table of tensors: the file itself, or a table in it."""
    if not isinstance(held, Mapping):
        return
    whole = {str(n): t for n, t in held.items() if isinstance(t, Tensor)}
    if whole and len(whole) == len(held):
        yield "", whole
        return
    for key, value in list(held.items())[:_MOST_NESTS]:
        if isinstance(value, Mapping):
            tensors = {str(n): t for n, t in value.items() if isinstance(t, Tensor)}
            if tensors and not any(isinstance(v, Mapping) for v in value.values()):
                yield str(key), tensors


def _prefixes(tensors: Mapping[str, Tensor], own: set[str]) -> list[str]:
    """Return "" and every beginning after which a name of the network follows."""
    found = {""}
    for name in tensors:
        parts = name.split(".")
        for i in range(1, len(parts)):
            if ".".join(parts[i:]) in own:
                found.add(".".join(parts[:i]) + ".")
                break
    return sorted(found, key=len)


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
    advice: str = "",
) -> None:
    """Copy `state`, read from `path`, into `network`; the layer `head` may differ in shape.

    Raises:
        ModelError: another tensor differs in shape, is missing, or is not the network's.
    """
    own = network.state_dict()
    lazy = {name for name, tensor in own.items() if is_lazy(tensor)}
    own = {name: state[name] if name in lazy and name in state else t for name, t in own.items()}
    misshapen = [name for name in own if name in state and own[name].shape != state[name].shape]
    fresh = {name for name in misshapen if head is not None and name.rpartition(".")[0] == head}
    # batch norm did not always count its batches, and hardly any momentum needs the count
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
            f"{'; '.join(filter(None, faults))}; {advice or _advise()}"
        )
    network.load_state_dict({n: t for n, t in state.items() if n not in fresh}, strict=False)


def _some(what: str, names: Sequence[str]) -> str:
    return f"{what} {few(names)}" if names else ""

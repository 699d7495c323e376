"""Networks that Python gives: an nn.Module with its weights, or a function that builds one."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.data.samples import describe
from edgekd.errors import ModelError
from edgekd.networks.copying import copy_network, unwrap
from edgekd.networks.weights import load_weights
from edgekd.store import digest
from edgekd.user_code import Given, blame

_EXPECTED = (
    "an nn.Module with its weights, a function that builds one, 'net.py:build', or 'model.onnx'"
)


def give_network(value: object, *, argument: str, weights: object = None) -> str | Given:
    """Return what a recipe has in place of a network.

    A module is copied as it is now, to the CPU; later changes of the caller's do not matter.

    Args:
        value: a name or path (returned as text), an nn.Module, or a function that builds one.
        argument: named in errors.
        weights: a state_dict to load; not for names.

    Raises:
        ModelError: it is something else, cannot be copied, or the weights do not fit.
    """
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if isinstance(value, nn.Module):
        return _give_module(unwrap(value), argument=argument, weights=weights)
    if isinstance(value, Mapping):
        raise ModelError(
            f"{argument} is a state_dict, which has weights only; give the network itself after "
            "net.load_state_dict(...), or the function that builds it and these as weights"
        )
    if callable(value) and not _is_foreign(value):
        if weights is None:
            return give_function(value, argument=argument)
        return _give_module(_built(value, argument), argument=argument, weights=weights)
    raise ModelError(f"{argument} is {describe(value)}; expected is {_EXPECTED}")


def give_function(value: Callable[..., Any], *, argument: str) -> str | Given:
    """Return what a recipe has in place of a function: its name where it can be imported again."""
    _check_callable(value, argument)
    name = importable_name(value)
    if name is not None:
        return name
    title = getattr(value, "__name__", type(value).__name__)
    return Given(_word(title), value, _hash_function(value))


def importable_name(value: Callable[..., Any]) -> str | None:
    """Return "file.py:function" or "package.module:function", if that leads to this very object."""
    module, name = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
    home = sys.modules.get(module or "")
    if module == "__main__" or home is None or getattr(home, name, None) is not value:
        return None
    file = Path(getattr(home, "__file__", None) or "")
    libraries = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib", "platlib")]
    foreign = any(file.is_relative_to(folder) for folder in libraries)
    if file.suffix == ".py" and "." not in module and not foreign:
        here = Path.cwd()
        if file.is_relative_to(here):  # changes in it and in what it imports are noticed
            return f"{file.relative_to(here).as_posix()}:{name}"
    return f"{module}:{name}"


def _give_module(module: nn.Module, *, argument: str, weights: object) -> Given:
    name = _word(type(module).__name__)
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            f"{argument} is a TorchScript module, whose layers cannot be edited or exported; give "
            "the nn.Module that it was made from, or an ONNX file of it"
        )
    try:
        prototype = copy_network(module).cpu()
    except Exception as error:
        raise ModelError(
            f"{argument} ({name}) cannot be copied: {type(error).__name__}: {error} "
            f"({blame(error)}); give a function that builds it, and its state_dict as weights"
        ) from error
    prototype.zero_grad(set_to_none=True)
    if not any(p.requires_grad for p in prototype.parameters()):
        prototype.requires_grad_(True)  # frozen for use: a student cut from it is trained
    if weights is not None:
        _load(prototype, weights, argument)
    return Given(name, lambda: copy_network(prototype), _hash_module(prototype), is_trained=True)


def _load(network: nn.Module, weights: object, argument: str) -> None:
    if isinstance(weights, (str, os.PathLike)):
        load_weights(network, Path(weights))
        return
    if not isinstance(weights, Mapping):
        raise ModelError(
            f"weights is {describe(weights)}; expected is a state_dict or a file of one"
        )
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        path = Path(scratch) / "weights.pt"
        state = {
            key: value.detach().cpu() if isinstance(value, Tensor) else value
            for key, value in weights.items()
        }
        torch.save(state, path)
        try:
            load_weights(network, path)
        except ModelError as error:
            raise ModelError(str(error).replace(f"the weights {path}", "the weights")) from error


def _built(function: Callable[..., Any], argument: str) -> nn.Module:
    _check_callable(function, argument)
    try:
        network = function()
    except Exception as error:
        raise ModelError(
            f"{argument} failed at {blame(error)} with {type(error).__name__}: {error}; it is "
            "called without arguments and returns the network"
        ) from error
    if not isinstance(network, nn.Module):
        raise ModelError(f"{argument} returned {describe(network)}, expected an nn.Module")
    return network


def _check_callable(function: Callable[..., Any], argument: str) -> None:
    """Refuse a function that needs arguments."""
    try:
        inspect.signature(function).bind()
    except ValueError:
        return
    except TypeError as error:
        raise ModelError(
            f"{argument} is called without arguments, but {error}; give a function that needs none "
            "(lambda: Net(10)), or the object that it makes"
        ) from error


def _is_foreign(value: object) -> bool:
    """Whether it can be called but builds nothing: a tensor, an ONNX model."""
    return isinstance(value, Tensor) or hasattr(value, "SerializeToString")


def _hash_module(module: nn.Module) -> str:
    weights = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if torch.nn.parameter.is_lazy(tensor):
            raise ModelError(
                f"the layer of {name} is lazy and has no weights yet; run the network once on a "
                "sample before"
            )
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        if isinstance(tensor, Tensor):
            flat = tensor.detach().contiguous().reshape(-1)
            weights.update(flat.view(torch.uint8).numpy().tobytes())
    classes = {type(part) for part in module.modules()}
    sources = sorted(_hash_function(kind) for kind in classes if not _is_library(kind))
    return digest(repr(module), weights.hexdigest(), sources)


def _is_library(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "torch"


def _hash_function(value: Any) -> str:
    """Return a hash of what it does: of its source, else of its compiled code."""
    name = getattr(value, "__qualname__", type(value).__qualname__)
    try:
        return digest(name, inspect.getsource(value), _closure(value))
    except (OSError, TypeError):
        code = getattr(value, "__code__", None)
        parts = [] if code is None else [code.co_code.hex(), repr(code.co_names)]
        return digest(name, parts, _closure(value))


def _closure(value: Any) -> list[str]:
    cells = getattr(value, "__closure__", None) or ()
    return [
        repr(cell.cell_contents)[:1000]
        for cell in cells
        if isinstance(cell.cell_contents, (str, int, float, bool, tuple, list))
    ]


def _word(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_") or "function"

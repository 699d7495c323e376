"""Edits of a network that can be replayed: plain JSON, applied in order after the build.

`{"op": "plain"}` turns computed weights into plain ones (`edgekd.networks.parametrized`).
`{"op": "run", "inputs": [["float32", [2, 3, 32, 32]]]}` runs the network once on zeros of these
forms, which gives lazy layers their shapes. `{"op": "layers", ...}` leaves blocks out
(`edgekd.networks.depth`). The last keeps some channels:

    {"op": "keep", "tensors": {"conv1.weight": {"0": [0, 2, 5]}, "fc.weight": {"1": [0, 2, 5]}}}

For each parameter or buffer and each of its dimensions: the indices that stay, in that order. The
module that owns the tensor gets its attributes (`out_channels`, `num_features`, ...) set to match.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.lazy import LazyModuleMixin
from torch.overrides import TorchFunctionMode

from edgekd.errors import ModelError, one_line
from edgekd.networks.depth import keep_layers
from edgekd.networks.parametrized import make_plain
from edgekd.user_code import blame

Keep = Mapping[str, Mapping[str, Sequence[int]]]
"""Tensor name -> dimension, as text because JSON has no other keys -> indices that stay."""


def apply_edit(network: nn.Module, edit: Mapping[str, Any]) -> nn.Module:
    """Change `network` in place and return it; give a fresh build or a deep copy.

    Raises:
        ModelError: the edit is of an unknown kind, or does not fit this network.
    """
    if edit.get("op") == "plain":
        return make_plain(network)
    if edit.get("op") == "run":
        return make_real(network, edit["inputs"])
    if edit.get("op") == "layers":
        return keep_layers(network, edit)
    if edit.get("op") != "keep":
        raise ModelError(
            f"unknown edit {edit.get('op')!r}, expected plain, run, layers or keep; the file was "
            "written by a newer edgekd: upgrade"
        )
    keep: Keep = edit["tensors"]
    owners: dict[nn.Module, str] = {}
    for name, dims in keep.items():
        path, _, leaf = name.rpartition(".")
        owner = _owner(network, name)
        owners[owner] = path
        _slice(owner, leaf, name, dims)
    for owner in owners:
        _fit(owner)
    return network


def is_lazy(network: nn.Module) -> bool:
    """Whether it has layers that learn their shapes from the first batch."""
    return any(isinstance(module, LazyModuleMixin) for module in network.modules())


def run_edit(inputs: Sequence[Tensor]) -> dict[str, Any]:
    """Return the edit that runs a network once on inputs of these forms."""
    forms = [[str(x.dtype).removeprefix("torch."), list(x.shape)] for x in inputs]
    return {"op": "run", "inputs": forms}


def make_real(network: nn.Module, forms: Sequence[tuple[str, Sequence[int]]]) -> nn.Module:
    """Run `network` once on zeros, in place, so that its lazy layers get their shapes.

    Raises:
        ModelError: it cannot take these inputs; the user's line is named.
    """
    modes = [(module, module.training) for module in network.modules()]
    inputs = [torch.zeros(list(shape), dtype=getattr(torch, name)) for name, shape in forms]
    try:
        with torch.no_grad():
            network.eval()(*inputs)
    except Exception as error:  # any code runs here
        given = ", ".join(f"{name} {list(shape)}" for name, shape in forms)
        raise ModelError(
            f"the network has lazy layers, which take their shapes from the first batch, and it "
            f"cannot take the data ({given}): {type(error).__name__} at {blame(error)}: "
            f"{one_line(error)[:300]}; correct its forward, or the data"
        ) from error
    finally:
        for module, mode in modes:
            module.training = mode
    return network


def zero_edit(network: nn.Module, edit: Mapping[str, Any]) -> nn.Module:
    """Set to zero, in place, what `apply_edit` would cut out, and return `network`.

    Both then compute the same, as far as nothing but layers normalises over channels: LayerNorm and
    GroupNorm are made to normalise over the kept ones only.
    """
    keep: Keep = edit["tensors"]
    modules = dict(network.named_modules())
    with torch.no_grad():
        for name, dims in keep.items():
            path, _, leaf = name.rpartition(".")
            tensor: Tensor = getattr(modules[path], leaf)
            for text, indices in dims.items():
                mask = torch.zeros(tensor.shape[int(text)], device=tensor.device)
                mask[list(indices)] = 1
                shape = [-1 if dim == int(text) else 1 for dim in range(tensor.ndim)]
                tensor.mul_(mask.reshape(shape))
            owner = modules[path]
            if leaf == "weight" and isinstance(owner, (nn.LayerNorm, nn.GroupNorm)):
                _normalise_over(owner, dims)
    return network


def _normalise_over(norm: nn.LayerNorm | nn.GroupNorm, dims: Mapping[str, Sequence[int]]) -> None:
    """Let `norm` normalise over the kept channels, whatever its forward does around that."""
    small = copy.deepcopy(norm)
    for leaf in ("weight", "bias"):
        if getattr(norm, leaf) is not None:
            _slice(small, leaf, leaf, dims)
    _fit(small)
    index = torch.tensor(next(iter(dims.values())), device=norm.weight.device)
    whole = norm.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with _OverKept(small, index):
            return whole(*args, **kwargs)

    norm.forward = forward  # type: ignore[method-assign]


class _OverKept(TorchFunctionMode):
    """Every normalisation inside works over some channels; the others become zero."""

    def __init__(self, small: nn.LayerNorm | nn.GroupNorm, index: Tensor) -> None:
        super().__init__()
        self.small, self.index = small, index
        self.dim = 1 if isinstance(small, nn.GroupNorm) else -1

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func not in _NORMALISATIONS:
            return func(*args, **(kwargs or {}))
        x: Tensor = args[0] if args else (kwargs or {})["input"]
        part = x.index_select(self.dim, self.index)
        small = self.small
        if isinstance(small, nn.GroupNorm):
            part = functional.group_norm(
                part, small.num_groups, small.weight, small.bias, small.eps
            )
        else:
            shape = list(small.normalized_shape)
            part = functional.layer_norm(part, shape, small.weight, small.bias, small.eps)
        return torch.zeros_like(x).index_copy(self.dim, self.index, part)


_NORMALISATIONS = (functional.layer_norm, functional.group_norm, torch.layer_norm, torch.group_norm)


def is_depthwise(conv: _ConvNd) -> bool:
    """Whether each channel has a filter of its own, so that inputs and outputs go together."""
    return 1 < conv.groups == conv.in_channels == conv.out_channels


def can_cut(module: nn.Module) -> bool:
    """Whether an edit may cut channels of this kind of layer."""
    return _fit.dispatch(type(module)) is not _fit.dispatch(object)


def output_dimension(module: nn.Module, leaf: str) -> int:
    """Return the dimension of a layer's tensor that counts its output channels."""
    transposed = isinstance(module, _ConvTransposeNd) and not is_depthwise(module)
    if isinstance(module, (nn.Embedding, nn.EmbeddingBag)):
        return 1
    return int(transposed and leaf == "weight")


def _owner(network: nn.Module, name: str) -> nn.Module:
    path, _, leaf = name.rpartition(".")
    owner: nn.Module | None = dict(network.named_modules()).get(path)
    if owner is None or leaf not in {*owner._parameters, *owner._buffers}:
        raise ModelError(
            f"an edit keeps channels of {name}, which this {type(network).__name__} does "
            "not have; the code that builds it has changed since: restore that version"
        )
    if not can_cut(owner):  # refused before anything is cut
        known = sorted(t.__name__.strip("_") for t in _fit.registry if t is not object)
        raise ModelError(
            f"channels of {path or 'the network itself'} cannot be removed: it is a "
            f"{type(owner).__name__}, and edgekd knows {', '.join(known)}; name it in `keep`"
        )
    return owner


def _slice(owner: nn.Module, leaf: str, name: str, dims: Mapping[str, Sequence[int]]) -> None:
    old: Tensor = getattr(owner, leaf)
    new = old.detach()
    for text, indices in dims.items():
        dim = int(text)
        if dim >= old.ndim or not indices or not 0 <= min(indices) <= max(indices) < old.shape[dim]:
            raise ModelError(
                f"an edit keeps {len(indices)} indices up to {max(indices, default=None)} of "
                f"dimension {dim} of {name}, whose shape is {tuple(old.shape)}; the code that "
                "builds the network has changed since: restore that version"
            )
        new = new.index_select(dim, torch.tensor(indices, device=old.device))
    if isinstance(old, nn.Parameter):
        setattr(owner, leaf, nn.Parameter(new, requires_grad=old.requires_grad))
    else:
        setattr(owner, leaf, new)


@singledispatch
def _fit(module: nn.Module) -> None:
    """Set the attributes of a layer to the shapes its tensors have now."""
    raise NotImplementedError(type(module))


@_fit.register
def _(conv: _ConvNd) -> None:
    first, second = conv.weight.shape[:2]
    if is_depthwise(conv):  # as it was: its attributes are still the old ones
        conv.groups = conv.in_channels = conv.out_channels = first
    elif isinstance(conv, _ConvTransposeNd):
        conv.in_channels, conv.out_channels = first, second * conv.groups
    else:
        conv.in_channels, conv.out_channels = second * conv.groups, first


@_fit.register
def _(linear: nn.Linear) -> None:
    linear.out_features, linear.in_features = linear.weight.shape


@_fit.register
def _(norm: _NormBase) -> None:
    tensors = (norm.weight, norm.running_mean)  # either may be switched off
    norm.num_features = next(len(tensor) for tensor in tensors if tensor is not None)


@_fit.register
def _(norm: nn.LayerNorm) -> None:
    norm.normalized_shape = tuple(norm.weight.shape)


@_fit.register
def _(norm: nn.GroupNorm) -> None:
    norm.num_channels = len(norm.weight)


@_fit.register(nn.Embedding)
@_fit.register(nn.EmbeddingBag)
def _(table: nn.Embedding | nn.EmbeddingBag) -> None:
    table.num_embeddings, table.embedding_dim = table.weight.shape


@_fit.register
def _(prelu: nn.PReLU) -> None:
    prelu.num_parameters = len(prelu.weight)

"""What is trained: the network that ships, extra modules, taps on inner layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from edgekd.errors import ModelError
from edgekd.networks.blueprint import Deployed, named
from edgekd.networks.layers import find_layer
from edgekd.training.attention_taps import PARTS, hook_attention
from edgekd.training.signals import Signals


class Trainee(nn.Module):
    """A network in training. All of it is optimised and checkpointed; only `network` ships.

    Attributes:
        network: what ships.
        extra: modules that are trained along, by name: projectors, for instance.
        layers: paths of the inner layers of the network's body that `forward` also returns; with
            ":query", ":key" or ":value" behind the path of an attention, those of it.
    """

    def __init__(
        self,
        network: Deployed,
        extra: Mapping[str, nn.Module] | None = None,
        layers: Sequence[str] = (),
    ) -> None:
        """Put them together; nothing is copied.

        Raises:
            ModelError: the layer does not exist.
        """
        super().__init__()
        self.network = network
        self.extra = nn.ModuleDict(dict(extra or {}))
        self.layers = tuple(layers)
        for path in self.layers:
            find_layer(network.body, _split(path)[0])

    def forward(self, inputs: Mapping[str, Tensor]) -> Signals:
        """Run the network on inputs by name."""
        with tap_layers(self.network.body, self.layers) as seen:
            outputs = named(self.network, inputs)
        return Signals(outputs, seen)


@contextmanager
def tap_layers(body: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect what the layers at `paths` return while the block runs; the hooks are removed then.

    A layer that runs several times gives what it returned last.

    Raises:
        ModelError: the layer does not exist, did not run, or does not return a tensor.
    """
    seen: dict[str, Tensor] = {}
    before = torch.backends.mha.get_fastpath_enabled()  # it passes over layers, hooked or not
    torch.backends.mha.set_fastpath_enabled(before and not paths)
    handles = []
    try:
        handles += [_hook(body, path, seen) for path in paths]
        yield seen
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
        for handle in handles:
            handle.remove()
    idle = [path for path in paths if path not in seen]
    if idle:
        raise ModelError(
            f"the layers {', '.join(map(repr, idle))} did not run in the forward pass; "
            "name layers that the network calls"
        )


def _hook(body: nn.Module, path: str, seen: dict[str, Tensor]) -> RemovableHandle:
    where, part = _split(path)
    layer = find_layer(body, where)
    if part:
        return hook_attention(layer, where, part, lambda found: seen.__setitem__(path, found))

    def keep(module: nn.Module, _: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise ModelError(
                f"the layer {path!r} ({type(module).__name__}) returns "
                f"{type(output).__name__}, not a tensor; name a layer inside of it"
            )
        seen[path] = output

    return layer.register_forward_hook(keep)


def _split(path: str) -> tuple[str, str]:
    """Return the path of a layer, and which part of an attention is meant; or ""."""
    where, _, part = path.rpartition(":")
    return (where, part) if part in PARTS else (path, "")

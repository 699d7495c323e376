"""Inner layers worth comparing, found by running a network once.

* A stage ends where the size of the maps changes: the last layer of each size. A layer inside of a
  block that changes the size is passed over for one before the block, if there is one. Maps of one
  pixel, which gates and pools give, and the scores of attentions are no stage.
* A transformer block is the entry of a list that contains an attention. Where it returns no tensor,
  its last layer that does stands for it.
* An attention is a module with layers for queries, keys and values (`ATTENTIONS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgekd.training.attention_taps import is_attention

if TYPE_CHECKING:
    from torch import Tensor, nn


Size = tuple[int, int]


@dataclass(frozen=True)
class FoundLayers:
    """Paths in the order in which the layers finish."""

    stages: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    attentions: tuple[str, ...] = ()


@dataclass
class _Seen:
    """What the layers of a network returned for `samples` samples."""

    samples: int
    maps: dict[str, Size] = field(default_factory=dict)
    """Path -> height and width."""
    tokens: list[str] = field(default_factory=list)
    """Paths of layers that return [batch, tokens, width]."""

    def note(self, path: str, output: object) -> None:
        from torch import Tensor

        if not isinstance(output, Tensor) or not output.is_floating_point():
            return
        self.maps.pop(path, None)  # a layer that runs again counts where it ran last
        if output.shape[:1] != (self.samples,):
            return
        if output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            self.maps[path] = (output.shape[2], output.shape[3])
        elif output.ndim == 3:
            self.tokens.append(path)


def find_layers(network: nn.Module, body: nn.Module, inputs: Mapping[str, Tensor]) -> FoundLayers:
    """Return the layers of `body` that are found while `network`, which contains it, answers.

    Args:
        network: is called with the inputs, in evaluation mode.
        body: paths begin here.
        inputs: of two samples, by name.
    """
    import torch

    returned: list[tuple[str, object]] = []

    def keep(path: str) -> object:
        def hook(module: nn.Module, _: object, output: object) -> None:
            returned.append((path, output))

        return hook

    layers = {  # a parametrization returns a weight
        path: layer
        for path, layer in body.named_modules()
        if path and "parametrizations" not in path.split(".")
    }
    handles = [layer.register_forward_hook(keep(path)) for path, layer in layers.items()]
    try:
        with torch.no_grad():
            answer = network.eval()(inputs)
    finally:
        for handle in handles:
            handle.remove()
    seen = _Seen(samples=len(next(iter(inputs.values()))))
    answers = {tensor.data_ptr() for tensor in answer.outputs.values()}
    for path, output in returned:
        if not isinstance(output, torch.Tensor) or output.data_ptr() not in answers:
            seen.note(path, output)
    ran = {path for path, _ in returned}
    attentions = [path for path in layers if path in ran and is_attention(layers[path])]
    blocks = _blocks(attentions, layers, seen)
    return FoundLayers(_stages(attentions, layers, seen), blocks, tuple(attentions))


def _stages(attentions: list[str], layers: Mapping[str, nn.Module], seen: _Seen) -> tuple[str, ...]:
    maps = {
        path: size
        for path, size in seen.maps.items()
        if not any(path.startswith(f"{attention}.") for attention in attentions)
    }
    halving = [path for path in layers if _halves(path, layers[path], maps)]
    anywhere: dict[Size, str] = {}
    outside: dict[Size, str] = {}
    for path, size in maps.items():
        anywhere[size] = path
        if not any(path.startswith(f"{block}.") for block in halving):
            outside[size] = path
    return tuple(sorted({**anywhere, **outside}.values(), key=list(maps).index))


def _halves(path: str, module: nn.Module, maps: Mapping[str, Size]) -> bool:
    """Whether a module is a block in which the maps change their size once."""
    from torch import nn

    if isinstance(module, nn.Sequential | nn.ModuleList):
        return False
    return len({size for other, size in maps.items() if other.startswith(f"{path}.")}) == 2


def _blocks(attentions: list[str], layers: Mapping[str, nn.Module], seen: _Seen) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for attention in attentions:
        block = _block_of(attention, layers)
        inside = [path for path in seen.tokens if f"{path}.".startswith(f"{block}.")]
        if inside:
            found[block if block in inside else inside[-1]] = None
    return tuple(found)


def _block_of(attention: str, layers: Mapping[str, nn.Module]) -> str:
    """Return the innermost entry of a list that has layers besides the attention."""
    parts = attention.split(".")
    own = sum(1 for _ in layers[attention].modules())
    for end in range(len(parts), 0, -1):
        path = ".".join(parts[:end])
        if parts[end - 1].isdigit() and sum(1 for _ in layers[path].modules()) > own + 1:
            return path
    return ".".join(parts[:-1]) or attention

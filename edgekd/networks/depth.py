"""Fewer layers: which of the equal blocks of a network stay, as an edit that can be replayed.

    {"op": "layers", "list": "body.encoder.layer", "keep": [1, 3, 5]}

The blocks that stay have their weights. Modules and settings (`config`) above the list that state
its length get the new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from edgekd.errors import ModelError

_COUNTS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
"""What the length of the list is called in a module or in the settings of transformers."""


def layers_edit(path: str, keep: Sequence[int]) -> dict[str, Any]:
    """Return the edit that keeps the blocks `keep` of the list `path`."""
    return {"op": "layers", "list": path, "keep": list(keep)}


def keep_layers(network: nn.Module, edit: Mapping[str, Any]) -> nn.Module:
    """Leave the other blocks out, in place, and return `network`.

    Raises:
        ModelError: the network has no such list, or too short a one.
    """
    path, keep = str(edit["list"]), [int(i) for i in edit["keep"]]
    stack = dict(network.named_modules()).get(path)
    if not isinstance(stack, (nn.ModuleList, nn.Sequential)) or len(stack) <= max(keep):
        raise ModelError(
            f"an edit keeps the layers {keep} of {path}, which this {type(network).__name__} does "
            "not have; the code that builds it has changed since: restore that version"
        )
    blocks = list(stack)
    for name, _ in list(stack.named_children()):
        delattr(stack, name)
    for i, number in enumerate(keep):
        stack.add_module(str(i), blocks[number])
    parts = path.split(".")
    for end in range(len(parts)):
        _count(network.get_submodule(".".join(parts[:end])), len(blocks), len(keep))
    return network


def _count(module: nn.Module, before: int, after: int) -> None:
    for place in (module, getattr(module, "config", None)):
        for name in _COUNTS:
            stated = getattr(place, name, None)
            if isinstance(stated, int) and stated == before:
                setattr(place, name, after)

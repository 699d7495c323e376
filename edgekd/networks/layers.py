"""Find layers of a network by their paths, such as `features.3.conv`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from torch import nn

from edgekd.errors import ModelError


def find_layer(network: nn.Module, path: str) -> nn.Module:
    """Return the layer at `path`.

    Raises:
        ModelError: there is none; the message lists paths that are similar.
    """
    layers: dict[str, nn.Module] = {name: layer for name, layer in network.named_modules() if name}
    if path not in layers:
        similar = describe_similar(path, list(layers))
        raise ModelError(f"{type(network).__name__} has no layer {path!r}; {similar}")
    return layers[path]


def describe_similar(name: str, known: Sequence[str]) -> str:
    """Return which of the known names resemble one that is not known, for an error."""
    similar = difflib.get_close_matches(name, known, n=5, cutoff=0.4)
    return f"{'similar are' if similar else 'it begins with'}: {', '.join(similar or known[:5])}"

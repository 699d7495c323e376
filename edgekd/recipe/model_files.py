"""What a file is that was given as the model and is none, seen without loading it."""

from __future__ import annotations

import zipfile
from pathlib import Path

from edgekd.store import locate
from edgekd.wording import option

_FIRST_BYTES = 1 << 22
_OF_MODULES = (b"_modules", b"_parameters", b"_buffers")
"""Attributes that every pickled nn.Module has, and no table of tensors."""


def refuse_weights(model: str) -> str:
    """Return why a .pt, .pth, .ckpt, .bin or .safetensors file is no model, and what to give."""
    build = option("model", "path/to/file.py:function")
    if _is_pickled_module(locate(model)):
        return (
            f"{option('model', model)} is a pickled network, as torch.save(network) writes it. "
            "Pickles can run any code and need the classes of the program that wrote them, so "
            "they are not loaded. Save its weights, torch.save(network.state_dict(), "
            f"'weights.pt'), and give the function that builds it: {build} and "
            f"{option('model.weights', 'weights.pt')}"
        )
    return (
        f"{option('model', model)} contains only weights, not the network that they belong "
        f"to; give the function that builds it: {build} and {option('model.weights', model)}"
    )


def _is_pickled_module(path: Path) -> bool:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inner = next((n for n in archive.namelist() if n.endswith("data.pkl")), None)
                if inner is None:
                    return False
                with archive.open(inner) as file:
                    head = file.read(_FIRST_BYTES)
        else:  # before torch 1.6
            with path.open("rb") as file:
                head = file.read(_FIRST_BYTES)
    except (OSError, zipfile.BadZipFile):
        return False
    return all(word in head for word in _OF_MODULES)

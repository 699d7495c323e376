"""A part of a bundle's loader: from .npy or .npz files to the model's inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.bundle.app_files import ABOUT, MANIFEST


def read_inputs(file: Path | str) -> dict[str, Any]:
    """Return the model's inputs for one sample: an .npz by name, or an .npy with the only one.

    Arrays are those of the training data, each without the batch axis.
    """
    loaded = np.load(file)
    arrays = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {ARRAYS[0]: loaded}
    return to_inputs({name: array[None] for name, array in arrays.items()})


def read_golden(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the model's inputs for a golden sample, whose files have the batch axis."""
    return to_inputs({name: np.load(file) for name, file in files.items()})


ARRAYS = ABOUT["arrays"] or ABOUT["names"]


def to_inputs(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays [1, ...] under the model's names, with its number types and shapes."""
    found = {}
    for entry, array in zip(MANIFEST["inputs"], ARRAYS, strict=True):
        value = np.ascontiguousarray(arrays[array], entry["dtype"])
        wanted, got = entry["shape"][1:], list(value.shape[1:])
        pairs = zip(wanted, got, strict=False)
        if len(wanted) != len(got) or any(isinstance(w, int) and w != g for w, g in pairs):
            raise ValueError(f"{array!r} has the shape {got} and the model takes {wanted}")
        found[entry["name"]] = value
    return found

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
    if Path(file).suffix.lower() not in (".npy", ".npz"):
        columns = COLUMNS.get(ARRAYS[0])
        values = f"with the values of {', '.join(columns)}, in this order" if columns else ""
        raise ValueError(
            f"one sample is taken, as .npy or .npz: np.save('sample.npy', {ARRAYS[0]}) {values}"
        )
    loaded = np.load(file)
    return to_inputs(
        dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {ARRAYS[0]: loaded}
    )


def read_golden(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the model's inputs for a golden sample, whose files have the batch axis."""
    return to_inputs({name: np.load(file) for name, file in files.items()})


ARRAYS = ABOUT["arrays"] or ABOUT["names"]
COLUMNS = {one["array"]: [c["name"] for c in one["columns"]] for one in ABOUT["facts"]}


def to_inputs(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return one sample under the model's names, with its number types, as arrays [1, ...].

    An array has no batch axis, or one of length 1. Columns of a table may be given by name.
    """
    found = {}
    for entry, array in zip(MANIFEST["inputs"], ARRAYS, strict=True):
        if array not in arrays:
            raise ValueError(f"{array!r} is missing; give {', '.join(ARRAYS)}")
        given, wanted = arrays[array], entry["shape"][1:]
        if isinstance(given, Mapping):
            absent = [name for name in COLUMNS[array] if name not in given]
            if absent:
                raise ValueError(f"{array!r} lacks the columns {', '.join(absent)}")
            given = [given[name] for name in COLUMNS[array]]
        value = np.asarray(given, entry["dtype"], order="C")
        sample = value[0] if value.ndim > len(wanted) and len(value) == 1 else value
        pairs = zip(wanted, sample.shape, strict=False)
        if sample.ndim != len(wanted) or any(isinstance(w, int) and w != g for w, g in pairs):
            raise ValueError(
                f"{array!r} has the shape {list(value.shape)}; the model takes one sample, "
                f"{wanted}, or {[1, *wanted]} with the batch axis"
            )
        found[entry["name"]] = sample[None]
    return found

"""Reuters R8 as texts with their classes (`edgekd data reuters-r8`)."""

from __future__ import annotations

import csv

import numpy as np
from numpy.typing import NDArray

from edgekd.data.downloads import fetch

_LONGEST = 10**9


def reuters_r8() -> dict[str, tuple[list[str], NDArray[np.int64]]]:
    """Return texts and classes 0..7 in alphabetical order; {"train": ..., "test": ...}."""
    folder = fetch("reuters-r8")
    csv.field_size_limit(_LONGEST)
    found: dict[str, tuple[list[str], list[str]]] = {}
    for part in ("train", "test"):
        path = folder / f"reuters-r8-{part}.tab"
        with path.open(encoding="utf8", newline="") as file:
            rows = [r for r in list(csv.reader(file, delimiter="\t"))[3:] if len(r) == 2 and r[0]]
        found[part] = ([text for _, text in rows], [label for label, _ in rows])
    names = sorted(set(found["train"][1]))
    return {
        part: (texts, np.array([names.index(label) for label in labels], np.int64))
        for part, (texts, labels) in found.items()
    }

"""Reuters R8 as texts with their classes (`edgekd data reuters-r8`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgekd.data.downloads import fetch
from edgekd.data.news import open_news


def reuters_r8() -> dict[str, tuple[list[str], NDArray[np.int64]]]:
    """Return texts and classes 0..7 in alphabetical order; {"train": ..., "test": ...}."""
    data = open_news(fetch("reuters-r8"), "reuters-r8")
    return {
        part: (data.samples["text"][rows].tolist(), data.targets["label"][rows])
        for part, rows in data.fixed.items()
    }

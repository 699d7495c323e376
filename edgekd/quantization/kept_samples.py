"""Keep a few calibration samples, chosen by their content: the same ones in any order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sample = Mapping[str, NDArray[Any]]

JUDGED_ON = 12
"""Samples that a written file must answer as the float file does."""
MOST = 64
"""Samples in all: what is fitted to the others is judged on the first ones."""
MOST_BYTES = 64 * 2**20
"""Of all samples beyond the first ones."""


@dataclass
class KeptSamples:
    """Those of a stream whose digests are the least; memory does not grow with the stream."""

    _found: list[tuple[bytes, Sample]] = field(default_factory=list)

    def offer(self, sample: Sample, digest: bytes) -> None:
        """Keep a copy of a sample if its digest is among the least. Equal samples count once."""
        place = bisect_left(self._found, digest, key=lambda one: one[0])
        if place >= MOST or (place < len(self._found) and self._found[place][0] == digest):
            return
        copy = {name: array.copy() for name, array in sample.items()}
        self._found.insert(place, (digest, copy))
        sizes = [sum(array.nbytes for array in one.values()) for _, one in self._found]
        fits = int((np.cumsum(sizes) <= MOST_BYTES).sum())
        del self._found[min(MOST, max(JUDGED_ON, fits)) :]

    def samples(self) -> tuple[Sample, ...]:
        """Return what was kept, by digest."""
        return tuple(sample for _, sample in self._found)

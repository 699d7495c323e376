"""An engine for the runner that copies memory, to measure bandwidth.

The model's place is taken by options: `kernel` (a key of `KERNELS`), `bytes` of all its arrays, and
`repeats` in a call, so that a call on small arrays is long enough to be timed. Nothing of edgekd is
imported.
"""

from __future__ import annotations

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


def add(target: Any, left: Any, right: Any) -> None:
    """Sum two arrays into a third."""
    np.add(left, right, out=target)


def negate(array: Any) -> None:
    """Change every sign: what is written was fetched to be read, so nothing is fetched for it."""
    np.negative(array, out=array)


KERNELS: dict[str, Any] = {"copy": (2, 2, np.copyto), "add": (3, 3, add), "negate": (1, 2, negate)}
"""The copy kernels: number of arrays, reads and writes per element, and the operation."""


class Engine:
    """numpy's own loops, each thread on a part of its own."""

    def __init__(self, arguments: Any, feeds: list[dict[str, Any]]) -> None:
        """Allocate and touch all arrays, each by the thread that works on it."""
        options = dict(pair.split("=") for pair in arguments.option)
        self.version = "numpy " + np.__version__
        self.repeats = int(options["repeats"])
        arrays, _, self.kernel = KERNELS[options["kernel"]]
        count = int(options["bytes"]) // 8 // arrays // arguments.threads
        self.pools = [ThreadPoolExecutor(1) for _ in range(arguments.threads)]
        made = [pool.submit(lambda: [np.ones(count) for _ in range(arrays)]) for pool in self.pools]
        self.parts = [future.result() for future in made]

    def calls(self) -> list[Any]:
        """Return the one call."""
        alone = len(self.parts) == 1
        return [functools.partial(self._work, self.parts[0]) if alone else self._together]

    def _work(self, arrays: Any) -> None:
        for _ in range(self.repeats):
            self.kernel(*arrays)  # numpy lets other threads run meanwhile

    def _together(self) -> None:
        pairs = zip(self.pools, self.parts)  # noqa: B905  Python 3.8
        for future in [pool.submit(self._work, part) for pool, part in pairs]:
            future.result()

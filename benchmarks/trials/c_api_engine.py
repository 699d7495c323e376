"""An engine that calls ONNX Runtime's C API, through `ort_loop.c` as a shared library.

The Python package contains ONNX Runtime twice: inside its extension module, and as a shared library
for C. The linker has put the same kernels at other addresses in the two, and alone by that one copy
runs up to 3 % faster (measured; `results/agreement.json`). With this engine the runner times the
very copy that the C loop times, so that what is left between them is the harness.
"""

from __future__ import annotations

import ctypes
import functools
import json
import time
from typing import Any

import numpy as np


class Engine:
    """The members of the runner's own; only one session per process."""

    def __init__(self, arguments: Any, feeds: list[dict[str, Any]]) -> None:
        """Let the C code open the session; it reads the same feeds from a file of its own."""
        options = dict(pair.partition("=")[::2] for pair in arguments.option)
        self.words = json.loads(options["words"])
        self.version = "onnxruntime (C API)"
        self.count = len(feeds)
        self.loop = ctypes.CDLL(options["loop"])
        array = (ctypes.c_char_p * len(self.words))(*[word.encode() for word in self.words])
        self.loop.prepare(len(self.words), array)
        self.loop.run_one.argtypes = [ctypes.c_long]
        self.loop.run_one.restype = None

    def calls(self) -> list[Any]:
        """Return one function without arguments per feed."""
        return [functools.partial(self.loop.run_one, index) for index in range(self.count)]

    def parts(self, index: int) -> dict[str, float]:
        """Time the engine alone: the C code binds both ends once."""
        start = time.perf_counter()
        self.loop.run_one(index)
        return {"engine": time.perf_counter() - start}

    def outputs(self, feed: dict[str, Any]) -> dict[str, Any]:
        """Return what the C code computed of this feed when it opened the session."""
        stored = np.fromfile(self.words[7], np.float32).reshape(self.count, -1)
        given = np.fromfile(self.words[5], np.float32).reshape(self.count, -1)
        (array,) = feed.values()
        (index,) = np.flatnonzero((given == array.reshape(-1)).all(axis=1))[:1]
        return {self.words[4]: stored[index]}

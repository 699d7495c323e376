"""An engine that calls a plain PyTorch module, the same one that PyTorch's Timer calls.

The runtime `torch` runs the exported graph, without the Python of the modules (some 3 microseconds
each): timing that against a module would compare two programs, not two harnesses.
"""

from __future__ import annotations

import functools
import time
from typing import Any

from edgekd.benchmarks.trials import torch_loop


class Engine:
    """The members of the runner's own; layers and width come as options."""

    def __init__(self, arguments: Any, feeds: list[dict[str, Any]]) -> None:
        """Build the module."""
        import torch

        options = dict(pair.partition("=")[::2] for pair in arguments.option)
        torch.set_num_threads(arguments.threads)
        self.version = "torch " + torch.__version__
        self.module = torch_loop.network(int(options["layers"]), int(options["width"]))
        self.feeds = [torch.as_tensor(feed["input"]) for feed in feeds]
        self.mode = torch.inference_mode()  # kept: it ends with the object
        self.mode.__enter__()

    def calls(self) -> list[Any]:
        """Return one function without arguments per feed."""
        return [functools.partial(self.module, feed) for feed in self.feeds]

    def parts(self, index: int) -> dict[str, float]:
        """Time the module alone."""
        start = time.perf_counter()
        self.module(self.feeds[index])
        return {"engine": time.perf_counter() - start}

    def outputs(self, feed: dict[str, Any]) -> dict[str, Any]:
        """Run the module once."""
        import torch

        return {"output": self.module(torch.as_tensor(feed["input"])).numpy()}

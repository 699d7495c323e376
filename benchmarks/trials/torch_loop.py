"""PyTorch's own benchmark in its own process: `torch.utils.benchmark.Timer` on a module.

Answers each line "SECONDS" on standard input with one line of JSON, the seconds of each call of
`Timer.blocked_autorange`. The module is an ordinary one, called as everybody does; our harness
times the same one (`torch_module_engine.py`).

    python torch_loop.py LAYERS WIDTH
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

ROWS = 64


def network(layers: int, width: int) -> nn.Module:
    """Return `layers` times Linear and ReLU, in evaluation mode; always with the same weights."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(layers)]
    return nn.Sequential(*blocks).eval()


def example(width: int) -> Tensor:
    """Return its input, [ROWS, width]."""
    import torch

    return torch.randn(ROWS, width, generator=torch.Generator().manual_seed(0))


def main() -> None:
    """Serve until the end of standard input."""
    import torch
    from torch.utils.benchmark import Timer

    layers, width = int(sys.argv[1]), int(sys.argv[2])
    names = {"module": network(layers, width), "x": example(width)}
    timer = Timer("module(x)", globals=names, num_threads=1)
    torch.set_num_threads(1)
    _say(torch.__version__)
    with torch.inference_mode():
        for line in sys.stdin:
            _say(timer.blocked_autorange(min_run_time=float(line)).times)


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

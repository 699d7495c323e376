"""Does a second thread pay for a small training, alone and beside other work?

    python -m edgekd.benchmarks.trials.threads --json benchmarks/results/threads.json

Trains small networks by one thread and by all, each in a fresh process, first alone and then beside
programs that keep every core busy. `edgekd.training.threads` rests on what it finds. The networks
are a bidirectional LSTM for texts and convolutions of rising size; the multiplications are those of
a layer with one batch, on average, as that module counts them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgekd.benchmarks.trials.report import conclude
from edgekd.networks.macs import count_macs
from edgekd.training.loop import place
from edgekd.training.precision import computing

BATCH = 64
NETWORKS: dict[str, tuple[int, int]] = {
    "LSTM": (64, 16),
    **{f"convolutions {width} on {size}": (width, size) for width, size in ((8, 16), (16, 32))},
    **{f"convolutions {width} on {size}": (width, size) for width, size in ((32, 32), (32, 64))},
}
"""Channels and length of a side, or of a text."""
CPU = torch.device("cpu")


class Recurrent(nn.Module):
    """Sentences of words, as a small classifier reads them."""

    def __init__(self, width: int) -> None:
        """Make a table, a layer and a head."""
        super().__init__()
        self.table = nn.Embedding(200, width)
        self.layer = nn.LSTM(width, width, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * width, 3)

    def forward(self, words: Tensor) -> Tensor:
        answers: Tensor = self.head(self.layer(self.table(words))[0].mean(1))
        return answers


def build(name: str) -> tuple[nn.Module, Tensor]:
    """Return a network and a batch of its inputs."""
    width, size = NETWORKS[name]
    if name == "LSTM":
        return Recurrent(width), torch.randint(0, 200, (BATCH, size))
    layers = [nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    layers += [nn.Conv2d(width, width, 3, 2, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 3))
    return network, torch.randn(BATCH, 3, size, size).to(memory_format=torch.channels_last)


def step_s(name: str, seconds: float) -> float:
    """Return the median seconds of a training step, in this process."""
    network, x = build(name)
    place(network.train(), CPU)
    labels = torch.randint(3, (BATCH,))
    optimizer = torch.optim.SGD(network.parameters(), 0.01)
    taken: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(taken) < 4:
        start = time.perf_counter()
        with computing("auto", CPU):
            loss = nn.functional.cross_entropy(network(x).float(), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken[2:]))


def macs(name: str) -> float:
    """Return the multiplications of a layer with one batch, on average; 0: none are counted."""
    network, x = build(name)

    class Named(nn.Module):
        def forward(self, inputs: dict[str, Tensor]) -> Tensor:
            answers: Tensor = network(inputs["x"])
            return answers

    network.eval()
    return float(np.mean(count_macs(Named(), {"x": x}).each or [0.0]))


@contextlib.contextmanager
def others(count: int) -> Iterator[None]:
    """Keep so many cores busy by other programs."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


def in_process(name: str, seconds: float, *, threads: int | None) -> float:
    """Return what a fresh process finds, with torch's own number of threads if it is None."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    words = [sys.executable, "-m", __spec__.name, "--step", name, "--time", str(seconds)]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(said.stdout))


def main() -> None:
    """Time, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", type=float, default=3.0, help="seconds of each process")
    parser.add_argument("--step", choices=list(NETWORKS), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.step:
        sys.stdout.write(json.dumps(step_s(arguments.step, arguments.time)))
        return
    found: dict[str, dict[str, float]] = {name: {"macs": macs(name)} for name in NETWORKS}
    cores = os.cpu_count() or 1
    for where, count in (("alone", 0), ("beside other work", cores)):
        with others(count):
            for name in NETWORKS:
                for title, threads in (("one", 1), ("all", None)):
                    taken_s = in_process(name, arguments.time, threads=threads)
                    found[name][f"{title}, {where}"] = taken_s
    rows = [
        [name, f"{one['macs'] / 1e6:.0f}"]
        + [f"{1e3 * taken_s:.1f}" for key, taken_s in one.items() if key != "macs"]
        for name, one in found.items()
    ]
    content: dict[str, Any] = {"torch": torch.__version__, "cores": cores, "step_s": found}
    columns = ["network", "million MACs", "one, ms", "all, ms", "one, busy", "all, busy"]
    conclude("a training step by threads", columns, rows, content, arguments.json)


if __name__ == "__main__":
    main()

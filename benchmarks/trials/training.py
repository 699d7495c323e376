"""How long a training step takes, and what makes it faster on this processor.

    python -m edgekd.benchmarks.trials.training --json benchmarks/results/training.json

Choices of one kind take turns, so that all see the same machine; each in the place of the first is
given as a ratio of times. A choice that does not pay on a processor shows here.

* step: a teacher (EfficientNet-Lite0, 64 images of 96 pixels) and a student (ResNet-20, 128 of 32
  pixels) in float32, in bfloat16 throughout, and as `edgekd.training.precision` has it;
* answers: that teacher's to 128 images, by ONNX Runtime, OpenVINO in bfloat16 and PyTorch;
* resized: a student's step after a batch was resized by numpy, whose threads then wait for work,
  with all of them and with one, as `edgekd compress` has it; a fresh process each.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgekd.benchmarks.stats.estimate import exp, student
from edgekd.benchmarks.trials.networks import exported
from edgekd.benchmarks.trials.report import conclude
from edgekd.data.preprocess import ImagePreprocess
from edgekd.exporters.ort_session import predictor
from edgekd.models import efficientnet_lite0, resnet20
from edgekd.training.loop import place
from edgekd.training.precision import computing
from edgekd.training.teacher_file import openvino_in_bf16

CPU = torch.device("cpu")
Work = Callable[[], object]


def step(network: nn.Module, samples: int, size: int, precision: str) -> Work:
    """Return a step of training: forward, backward, update."""
    place(network.train(), CPU)
    x = torch.randn(samples, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (samples,))
    optimizer = torch.optim.SGD(network.parameters(), 0.01)

    def run() -> None:
        plain = precision == "bf16 throughout"
        context = torch.autocast("cpu", torch.bfloat16) if plain else computing(precision, CPU)
        with context:
            loss = nn.functional.cross_entropy(network(x).float(), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return run


def steps(build: Callable[..., nn.Module], samples: int, size: int) -> dict[str, Work]:
    """Return the same step in each precision; what the recipe's "auto" takes comes last."""
    names = ("fp32", "bf16 throughout", "auto")
    return {name: step(build(classes=10), samples, size, name) for name in names}


def answers(folder: Path) -> dict[str, Work]:
    """Return the same answers by each runtime."""
    network = efficientnet_lite0(classes=10).eval()
    x = torch.randn(128, 3, 96, 96)
    path = exported(network, 96, folder / "teacher.onnx")
    threads = torch.get_num_threads()
    onnxruntime = predictor(path, threads=threads)
    openvino = openvino_in_bf16(path, threads=threads)
    place(network, CPU)
    feeds = {"pixels": x.numpy()}

    def by_torch() -> None:
        with torch.no_grad(), computing("auto", CPU):
            network(x)

    works: dict[str, Work] = {"ONNX Runtime": lambda: onnxruntime(feeds), "PyTorch": by_torch}
    if openvino is not None:
        works["OpenVINO"] = lambda: openvino(feeds)
    return works


def resized(environment: Mapping[str, str], seconds: float) -> float:
    """Return the mean seconds of a student's step with its batch, of a fresh process."""
    command = [sys.executable, "-m", __spec__.name, "--resized", str(seconds)]
    said = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return float(said.stdout)


def _step_after_resizing(seconds: float) -> float:
    to_96 = ImagePreprocess(height=96, width=96, mean=(0, 0, 0), std=(1, 1, 1))
    images = np.random.default_rng(0).integers(0, 255, (128, 32, 32, 3), dtype=np.uint8)
    train = step(resnet20(classes=10), 128, 32, "auto")
    train()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        to_96.encode({"image": images})
        train()
        count += 1
    return (time.perf_counter() - start) / count


def in_turns(works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each, one after the other in every round; the first is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def main() -> None:
    """Time, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--resized", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.resized:
        sys.stdout.write(str(_step_after_resizing(arguments.resized)))
        return
    found = {
        "step of the teacher": in_turns(steps(efficientnet_lite0, 64, 96), arguments.rounds),
        "step of the student": in_turns(steps(resnet20, 128, 32), arguments.rounds),
    }
    quiet = contextlib.redirect_stdout(sys.stderr)  # the exporter talks
    with tempfile.TemporaryDirectory(prefix="edgekd-") as name, quiet:
        found["answers"] = in_turns(answers(Path(name)), arguments.rounds)
    one = {"OPENBLAS_NUM_THREADS": "1"}
    pairs = [(resized({}, 5.0), resized(one, 5.0)) for _ in range(4)]
    every, alone = zip(*pairs, strict=True)
    found["resized"] = {"all threads": list(every), "one thread": list(alone)}
    rows = [row for kind, seconds in found.items() for row in _rows(kind, seconds)]
    content: dict[str, Any] = {"torch": torch.__version__, "seconds": found}
    conclude("training", ["what", "how", "ms", "of the first"], rows, content, arguments.json)


def _rows(kind: str, seconds: Mapping[str, list[float]]) -> list[list[str]]:
    first = np.log(next(iter(seconds.values())))
    rows = []
    for name, values in seconds.items():
        ratio = exp(student(np.log(values) - first))
        shown = f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        rows.append([kind, name, f"{1e3 * float(np.median(values)):.0f}", shown])
    return rows


if __name__ == "__main__":
    main()

"""Does the harness measure the same times as other tools?

    python -m edgekd.benchmarks.trials.agreement --json benchmarks/results/agreement.json

Two others: a loop in C on ONNX Runtime's C API (`ort_loop.c`), and `torch.utils.benchmark.Timer` on
a PyTorch module. Per round every side gets a fresh process, and their blocks alternate in random
order. Medians of blocks that ran side by side are divided, so drift of the machine cancels; the
median over its blocks represents a round. Asked: that the ratio is within 2 % where a call takes
over 1 ms.

The C loop is compared twice. With our runner calling the same C API, which is the harness alone:
this is asked. And with our runner as `edgekd bench` uses it, through ONNX Runtime's Python package,
which adds the binding's microseconds per call and its own copy of the kernels (see
`c_api_engine.py`): this is shown apart.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.benchmarks.measurement import Candidate
from edgekd.benchmarks.stats.estimate import Estimate, Floats, exp, student
from edgekd.benchmarks.trials import torch_loop
from edgekd.benchmarks.trials.models import chain, convolutions
from edgekd.benchmarks.trials.report import conclude
from edgekd.benchmarks.trials.sides import (
    Side,
    compiled,
    in_c,
    ours,
    ours_on_c,
    ours_on_module,
    torch_timer,
    words_for_c,
)
from edgekd.errors import MeasureError
from edgekd.exporters.ort_session import predictor

BOUND = 0.02
LEAST_S = 1e-3  # shorter calls are compared in microseconds
WARMUP_S = 0.1
TORCH_LAYERS, TORCH_WIDTH = 10, 256


@dataclass(frozen=True)
class Model:
    """An ONNX file that is written on the fly, from x to r<layers - 1> of the same shape."""

    name: str
    layers: int
    shape: tuple[int, ...]

    def write(self, path: Path) -> Path:
        """Write it: convolutions of images, products of rows."""
        if len(self.shape) == 4:
            return convolutions(
                path, layers=self.layers, channels=self.shape[1], size=self.shape[2]
            )
        return chain(path, layers=self.layers, rows=self.shape[0], width=self.shape[1])


MODELS = (
    Model("4 products", 4, (16, 128)),
    Model("150 products", 150, (64, 64)),
    Model("450 products", 450, (64, 64)),
    Model("8 convolutions", 8, (1, 32, 28, 28)),
    Model("24 convolutions", 24, (1, 32, 28, 28)),
)
"""About 30 microseconds, then 1.3 and 4 milliseconds of either kind. What a layer reads and writes
is small: where a process's pages lie in the second-level cache would decide otherwise, and that is
luck of the process, not of the harness."""


@dataclass(frozen=True)
class Rounds:
    """How long to time."""

    rounds: int = 12
    blocks: int = 10  # of each side, per round
    block_s: float = 0.04


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What two sides found; seconds are medians over all blocks."""

    model: str
    sides: tuple[str, str]
    first_s: float
    second_s: float
    ratio: Estimate  # the first by the second
    difference_s: Estimate  # the first less the second
    asked: bool = True

    @property
    def within(self) -> bool:
        """Whether the medians are within the bound."""
        return abs(self.ratio.value - 1) <= BOUND

    @property
    def failed(self) -> bool:
        """Whether it was asked to be within the bound and is not."""
        return self.asked and self.second_s > LEAST_S and not self.within


def against_c(
    folder: Path, model: Model, timing: Rounds, *, c_model: Model | None = None
) -> list[Agreement]:
    """Time a model with the runner on the C API, with the runner as it is used, and in the C loop.

    Args:
        folder: for the files.
        model: of all sides.
        timing: how long.
        c_model: what the C loop runs instead.

    Raises:
        MeasureError: the compiler or the library is missing, or the sides do not compute the same.
    """
    x = np.random.default_rng(0).standard_normal((3, *model.shape), dtype=np.float32)
    np.savez(folder / "feeds.npz", x=x)
    file = model.write(folder / "model.onnx")
    program, shared = compiled(folder)
    words = words_for_c(program, file, ("x", f"r{model.layers - 1}"), x)
    other = c_model or model
    names = ("x", f"r{other.layers - 1}")
    sides = [
        ours_on_c(shared, words, folder / "feeds.npz"),
        ours(Candidate(file, folder / "feeds.npz")),
        in_c(words_for_c(program, other.write(folder / "c.onnx"), names, x)),
    ]
    found = compare(sides, timing)
    if c_model is None:
        _check_outputs(file, x, folder / "c.out")
    return [
        _agreement(model.name, ("runner, C API", "C loop"), found, (0, 2)),
        _agreement(model.name, ("runner", "C loop"), found, (1, 2), asked=False),
    ]


def _check_outputs(model: Path, x: np.ndarray[Any, Any], stored: Path) -> None:
    predict = predictor(model)
    wanted = np.stack([next(iter(predict({"x": feed}).values())) for feed in x])
    found = np.fromfile(stored, np.float32).reshape(wanted.shape)
    if not np.allclose(found, wanted, rtol=0, atol=1e-5 * float(np.abs(wanted).max())):
        raise MeasureError("the C loop does not compute what the session in Python computes")


def against_torch(folder: Path, timing: Rounds) -> Agreement:
    """Time a PyTorch module with the runner and with PyTorch's Timer."""
    found = compare(torch_sides(folder), timing)
    return _agreement(f"{TORCH_LAYERS} linear layers", ("runner", "torch Timer"), found, (0, 1))


def torch_sides(folder: Path) -> list[Side]:
    """Return the runner and the Timer, both with the same module."""
    np.savez(folder / "module.npz", input=torch_loop.example(TORCH_WIDTH).numpy()[None])
    module = ours_on_module(folder / "module.npz", TORCH_LAYERS, TORCH_WIDTH)
    return [module, torch_timer(TORCH_LAYERS, TORCH_WIDTH)]


def compare(sides: Sequence[Side], timing: Rounds) -> list[Floats]:
    """Return for each round the median seconds of a call in each block, [blocks, sides]."""
    found = []
    for _ in range(timing.rounds):
        with contextlib.ExitStack() as stack:
            started = [side(stack) for side in sides]
            blocks = [ready() for ready in started]
            medians = np.zeros((timing.blocks, len(sides)))
            for block in blocks:
                block(WARMUP_S)
            for number in range(timing.blocks):
                for index in random.sample(range(len(sides)), len(sides)):
                    medians[number, index] = np.median(blocks[index](timing.block_s))
        found.append(medians)
    return found


def _agreement(
    model: str,
    sides: tuple[str, str],
    found: Sequence[Floats],
    columns: tuple[int, int],
    *,
    asked: bool = True,
) -> Agreement:
    pairs = [blocks[:, columns] for blocks in found]
    first, second = np.median(np.concatenate(pairs), axis=0)
    ratios = [np.median(np.log(p[:, 0] / p[:, 1])) for p in pairs]
    return Agreement(
        model=model,
        sides=sides,
        first_s=float(first),
        second_s=float(second),
        ratio=exp(student(np.array(ratios))),
        difference_s=student(np.array([np.median(p[:, 0] - p[:, 1]) for p in pairs])),
        asked=asked,
    )


def row(found: Agreement) -> list[str]:
    """Return what people want to see of it."""
    ratio, more = found.ratio, found.difference_s
    short = found.second_s <= LEAST_S
    word = "under 1 ms" if short else "yes" if found.within else "no"
    percent = [100 * (value - 1) for value in (ratio.value, ratio.low, ratio.high)]
    micro = [1e6 * value for value in (more.value, more.low, more.high)]
    return [
        found.model,
        f"{found.sides[0]} / {found.sides[1]}" + ("" if found.asked else " (shown)"),
        f"{1e6 * found.first_s:.1f}",
        f"{1e6 * found.second_s:.1f}",
        "{:+.2f} [{:+.2f}, {:+.2f}]".format(*percent),
        "{:+.1f} [{:+.1f}, {:+.1f}]".format(*micro),
        word,
    ]


def main() -> None:
    """Compare with both; exit code 1 where they differ by more than the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=Rounds.rounds, help="2 or more")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    timing = Rounds(rounds=arguments.rounds)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        try:
            found = [one for m in MODELS for one in against_c(Path(folder), m, timing)]
            found.append(against_torch(Path(folder), timing))
        except MeasureError as error:
            sys.exit(str(error))
    conclude(
        f"The runner against others, {timing.rounds} rounds",
        ["model", "first / second", "first, µs", "second, µs", "ratio, %", "more, µs", "in 2 %"],
        [row(one) for one in found],
        {
            "torch": version("torch"),
            "bound": BOUND,
            "timing": asdict(timing),
            "rows": [{**asdict(one), "within": one.within} for one in found],
        },
        arguments.json,
    )
    if any(one.failed for one in found):
        sys.exit("the runner and another do not agree within 2 %")


if __name__ == "__main__":
    main()

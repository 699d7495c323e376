"""How much time does the harness itself take?

    python -m edgekd.benchmarks.trials.overhead --json benchmarks/results/overhead.json

Two independent answers, on a model of about 50 microseconds:

* inside: what is counted as the model's though it is the harness's, `ProcessRun.harness_s`: the
  median of calls of nothing, timed the same way;
* around: the wall clock of a block less the sum of its calls, by their number.

Asked: under 1 microsecond each.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgekd.benchmarks.children import Child, arguments_of
from edgekd.benchmarks.measurement import Candidate
from edgekd.benchmarks.stats.estimate import Estimate, student
from edgekd.benchmarks.trials.models import ROWS, chain
from edgekd.benchmarks.trials.report import conclude

BOUND_S = 1e-6
LAYERS = 5  # of width 128: about 50 microseconds
WARMUP_S = 0.1
BLOCK_S = 0.04


@dataclass(frozen=True)
class Overhead:
    """Seconds per call over several processes."""

    latency_s: float
    inside_s: Estimate
    around_s: Estimate

    @property
    def holds(self) -> bool:
        """Whether both are under the bound."""
        return self.inside_s.value < BOUND_S and self.around_s.value < BOUND_S


def overhead(folder: Path, *, rounds: int, blocks: int) -> Overhead:
    """Time the small model in fresh processes.

    Args:
        folder: for the files.
        rounds: processes, 2 or more.
        blocks: of each; the median over them is the process's figure.
    """
    model = chain(folder / "small.onnx", layers=LAYERS)
    x = np.random.default_rng(0).standard_normal((3, ROWS, 128), dtype=np.float32)
    np.savez(folder / "feeds.npz", x=x)
    arguments = arguments_of(Candidate(model, folder / "feeds.npz"))
    latency, inside, around = [], [], []
    for _ in range(rounds):
        with Child(arguments, python=sys.executable, name=model.name, limit_s=60) as child:
            child.ask(ready=True)
            inside.append(child.ask(load=True)["harness_s"])
            child.ask(warm=WARMUP_S)
            answers = [child.ask(run=BLOCK_S) for _ in range(blocks)]
        latency.append(np.median(np.concatenate([a["block_s"] for a in answers])))
        around.append(np.median([_around(a["elapsed_s"], a["block_s"]) for a in answers]))
    return Overhead(float(np.median(latency)), student(np.array(inside)), student(np.array(around)))


def _around(elapsed_s: float, block_s: list[float]) -> float:
    return (elapsed_s - sum(block_s)) / len(block_s)


def main() -> None:
    """Print both figures; exit code 1 above the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12, help="2 or more")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        found = overhead(Path(folder), rounds=arguments.rounds, blocks=10)
    rows = [
        [name, f"{1e9 * e.value:.0f} ns [{1e9 * e.low:.0f}, {1e9 * e.high:.0f}]"]
        for name, e in (("inside a call", found.inside_s), ("around a call", found.around_s))
    ]
    conclude(
        f"Harness on a model of {1e6 * found.latency_s:.1f} µs, {arguments.rounds} processes",
        ["cost", "per call"],
        rows,
        {"bound_s": BOUND_S, "layers": LAYERS, **asdict(found), "holds": found.holds},
        arguments.json,
    )
    if not found.holds:
        sys.exit("the harness costs a microsecond a call or more")


if __name__ == "__main__":
    main()

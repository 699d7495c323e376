"""Is a file that edgekd hands out ever slower than FP32?

    python -m edgekd.benchmarks.trials.slowdown --json benchmarks/results/slowdown.json

At least 30 graphs: the files of `foreign_files.py`, the networks of `known_networks.py`, and those
of edgekd. Each is given to `edgekd quantize` with the variants that a runtime of this machine is
for. What the bundle then has is timed again, in ONNX Runtime and one session of its own: a file is
handed out wrongly if the 99 % interval of its speed-up over FP32 lies below 1. Printed last is the
median speed-up of what ships, over graphs of 10 million multiplications and more; where nothing
was kept it is 1. Two to five minutes for each graph: with `--json` a call that was stopped goes on
where it was, and `--only` takes some of them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from onnx import ModelProto
from rich.console import Console

from edgekd.benchmarks.bench import bench
from edgekd.benchmarks.measurement import Timing
from edgekd.benchmarks.stats import speedup
from edgekd.benchmarks.trials import known_networks, models
from edgekd.benchmarks.trials.foreign_files import RUN, SHORT, all_files, try_file
from edgekd.benchmarks.trials.odd_graphs import Arrays
from edgekd.benchmarks.trials.report import conclude
from edgekd.devices import open_device
from edgekd.exporters.model_stats import facts, inputs_of
from edgekd.exporters.variants import TABLE
from edgekd.store import write_json

Build = Callable[[], tuple[ModelProto, Arrays]]

_ROW = next(row for row in TABLE if row.provider == "CPUExecutionProvider")
VARIANTS = (_ROW.variant, *_ROW.also)
"""Those that ONNX Runtime's CPU provider is for."""
_ERROR = 0.01
_LARGE = 10_000_000
_SAMPLES = 32
_SIDES = {"resnet8": 32, "resnet20": 32, "resnet56": 32, "convnet": 28, "efficientnet_lite0": 224}


@dataclass(frozen=True)
class Row:
    """What became of one graph."""

    name: str
    macs: int
    outcome: str
    said: str
    speedups: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """Of each variant that is handed out: (value, low, high), the interval of 99 %."""

    @property
    def best(self) -> float:
        """The speed-up of the fastest file that is handed out, 1 if that is FP32."""
        return max([1.0, *(value for value, _, _ in self.speedups.values())])

    @property
    def slower(self) -> list[str]:
        """The variants that are handed out and proven to be slower than FP32."""
        return [variant for variant, (_, _, high) in self.speedups.items() if high < 1]


def main() -> int:
    """Run all, or those whose names contain a word of --only; return 1 if a file is slower."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", default=[], help="parts of names")
    parser.add_argument("--short", action="store_true", help="few calls: speeds say little")
    parser.add_argument("--time", type=float, default=90, help="seconds for the files of a graph")
    parser.add_argument("--json", type=Path, help="the table; rows that it has are not run again")
    arguments = parser.parse_args()
    say = Console(highlight=False).print
    done: dict[str, Row] = {}
    if arguments.json is not None and arguments.json.exists():
        stored = json.loads(arguments.json.read_text(encoding="utf8"))
        done = {row["name"]: Row(**row) for row in stored["graphs"]}
    for name, build in _graphs():
        if name in done or (arguments.only and not any(w in name for w in arguments.only)):
            continue
        say(f"{name} ...", end=" ")
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            done[name] = _try(name, build, Path(folder), arguments)
        say(f"{done[name].outcome}, {done[name].best:.2f}x")
        if arguments.json is not None:
            write_json(arguments.json, {"graphs": [asdict(row) for row in done.values()]})
    rows = list(done.values())
    large = [row.best for row in rows if row.macs >= _LARGE]
    middle = median(large) if large else None
    conclude(
        "What edgekd hands out, against FP32 [99 %]",
        ["graph", "million MACs", "outcome", "speed-up"],
        [_words(row) for row in rows],
        {"graphs": [asdict(row) for row in rows], "median": middle, "large": len(large)},
        arguments.json,
    )
    slower = [f"{row.name}: {', '.join(row.slower)}" for row in rows if row.slower]
    ended = [f"{row.name}: {row.said}" for row in rows if row.outcome in ("refused", "crashed")]
    say("\n".join([*slower, *ended]) or f"{len(rows)} graphs, no file is slower", markup=False)
    if middle is not None:
        say(f"median speed-up of {len(large)} graphs of 10 million MACs and more: {middle:.2f}x")
    return 1 if slower or ended else 0


def _try(name: str, build: Build, folder: Path, arguments: argparse.Namespace) -> Row:
    short = arguments.short
    variants = ", ".join(f'"{variant}"' for variant in VARIANTS)
    options = ["--set", f"steps.0.variants=[{variants}]", *(SHORT if short else ())]
    made = try_file(name, build, folder / "job", options)
    source = folder / "job" / "model.onnx"
    with np.load(folder / "job" / "data.npz") as arrays:
        lengths = {
            axis.dim_param: size
            for value in inputs_of(onnx.load(source))
            for axis, size in zip(
                value.type.tensor_type.shape.dim, arrays[value.name].shape, strict=True
            )
            if axis.dim_param
        }
    macs = facts(source, lengths=lengths).macs or 0
    bundle = folder / "job" / RUN / "bundle"
    plain = bundle / "model.fp32.onnx"
    files = [bundle / f"model.{variant}.onnx" for variant in VARIANTS]
    files = [file for file in files if file.exists()]
    found: dict[str, tuple[float, float, float]] = {}
    if files:
        timing = (
            Timing(rounds=3, blocks=4) if short else Timing(rounds=10, time_limit_s=arguments.time)
        )
        result = bench(files, vs=plain, device=open_device("local"), timing=timing)
        before, *after = result.session.measurements
        for file, measured in zip(files, after, strict=True):
            ratio = speedup(before, measured, floor=result.floor, error=_ERROR)
            variant = file.name.split(".")[1]
            found[variant] = (ratio.value, ratio.low, ratio.high)
    return Row(name, macs, made.outcome, made.said, found)


def _graphs() -> Iterator[tuple[str, Build]]:
    yield from all_files()
    for name, build in known_networks.NETWORKS.items():
        yield name, partial(_known, build)
    for name in _SIDES:
        yield name, partial(_ours, name)
    yield "products", partial(_chain, models.chain)
    yield "convolutions", partial(_chain, models.convolutions)


def _known(build: Callable[[], ModelProto]) -> tuple[ModelProto, Arrays]:
    return build(), dict(known_networks.samples(_SAMPLES))


def _ours(name: str) -> tuple[ModelProto, Arrays]:
    import edgekd.models
    from edgekd.benchmarks.trials.networks import exported

    side = _SIDES[name]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        options = {"channels": 3} if name == "convnet" else {}  # one channel by default
        network = getattr(edgekd.models, name)(classes=10, **options).eval()
        model = onnx.load(exported(network, side, Path(folder, "model.onnx")))
    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((_SAMPLES, 3, side // 4, side // 4)).repeat(4, 2).repeat(4, 3)
    return model, {"pixels": coarse.astype(np.float32)}


def _chain(write: Callable[..., Path]) -> tuple[ModelProto, Arrays]:
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        model = onnx.load(write(Path(folder, "model.onnx"), layers=8))
    (value,) = model.graph.input
    shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
    size = max(_SAMPLES, 2 * shape[0])
    numbers = np.random.default_rng(0).standard_normal((size, *shape[1:]))
    return model, {value.name: numbers.astype(np.float32)}


def _words(row: Row) -> list[str]:
    cells = [f"{v} {x:.2f}x [{low:.2f}, {high:.2f}]" for v, (x, low, high) in row.speedups.items()]
    return [row.name, f"{row.macs / 1e6:,.1f}", row.outcome, "\n".join(cells) or "FP32"]


if __name__ == "__main__":
    sys.exit(main())

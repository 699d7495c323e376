"""Train networks of eight kinds, quantize them without labels, and compare on whole test splits.

    python -m edgekd.benchmarks.trials.int8_drop --json benchmarks/results/int8-drop.json

The recipes are in `benchmarks/trials/trained`. Each trains a network once, in a run folder that is
kept (--runs), so that an interrupted trial goes on where it stopped. Then `quantize` writes its
variants from the calibration split, whose labels it does not see, and every file answers the whole
test split in ONNX Runtime. Intervals are paired by sample, 95 %. The trainings take two hours on
two cores; `edgekd data cifar10 reuters-r8 minilm-l6` fetches data, the Debian package freepats has
the sounds.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from edgekd.artifact import FP32, SEAL, Artifact, Variant, open_artifact, seal_artifact
from edgekd.benchmarks.trials.report import conclude
from edgekd.data.downloads import fetch
from edgekd.data.preprocess import copy_preprocess
from edgekd.evaluation.quality import estimate, estimate_gain
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.compress import compress
from edgekd.pipeline.setup import set_up
from edgekd.progress import Silent
from edgekd.quantization.quantized import QUANTIZED, read_dropped
from edgekd.quantization.step import Quantize
from edgekd.recipe.recipe import Recipe, load_recipe

RECIPES = Path(__file__).parent / "trained"
EXPORTED = f"stages/export-*/{SEAL}"
"""Of the stages of a run that have the FP32 file of a network."""
WORST_DROP, MEDIAN_DROP = 0.5, 0.1
"""Points that INT8 may cost at most, on one network and on half of them."""


@dataclass(frozen=True)
class Drop:
    """What one variant of one network loses on its test split."""

    network: str
    variant: str
    fp32: float
    """Accuracy of the float file in percent."""
    samples: int
    drop: tuple[float, float, float] | None
    """Points lost against the float file: value, low, high. None: there is no such file."""
    reason: str
    """Why there is none."""
    layers: int
    layers_in_float: int
    seconds: float
    """Of calibration and of writing all variants."""


def main() -> int:
    """Run all, or those named; return 1 if a variant loses more than it may."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = sorted(path.stem for path in RECIPES.glob("*.toml"))
    parser.add_argument("--only", nargs="*", choices=names, default=names, help="networks")
    parser.add_argument("--variants", nargs="*", default=["int8", "int8-tensorrt"])
    parser.add_argument("--runs", type=Path, default=Path("runs/int8-drop"), help="run folders")
    parser.add_argument("--effort", type=float, default=1, help="share of the recipes' epochs")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of quantize")
    parser.add_argument("--json", type=Path, help="write the table to this file")
    given = parser.parse_args()
    options = dict(_parsed(text) for text in given.set)
    step = Quantize.model_validate({"variants": given.variants, **options})
    rows = [
        drop
        for name in given.only
        for drop in measure(_recipe(name, effort=given.effort), step, given.runs / name)
    ]
    found = {v: [d.drop[0] for d in rows if d.variant == v and d.drop] for v in given.variants}
    worst = {v: max(drops) for v, drops in found.items() if drops}
    middle = {v: median(drops) for v, drops in found.items() if drops}
    conclude(
        "points that INT8 loses on the test split",
        ["network", "variant", "FP32 %", "samples", "drop", "INT8 / float layers", "seconds"],
        [_row(drop) for drop in rows],
        {"rows": [asdict(drop) for drop in rows], "worst": worst, "median": middle},
        given.json,
    )
    print_summary(worst, middle)
    return int(any(v > WORST_DROP for v in worst.values()))


def print_summary(worst: dict[str, float], middle: dict[str, float]) -> None:
    """Print the worst and the median drop of each variant."""
    conclude(
        f"asked: worst at most {WORST_DROP}, median at most {MEDIAN_DROP} points",
        ["variant", "worst drop", "median drop"],
        [[v, f"{worst[v]:.2f}", f"{middle[v]:.2f}"] for v in worst],
        {},
        None,
    )


def _parsed(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def measure(recipe: Recipe, step: Quantize, folder: Path) -> list[Drop]:
    """Train a network, or take the one that was trained before, and return its drops.

    Args:
        recipe: trains the network; the last network that it makes is quantized.
        step: writes the variants.
        folder: of the run.
    """
    if not list(folder.glob(EXPORTED)):
        compress(recipe, root=Path.cwd(), out=folder)
    bench = set_up(recipe, root=Path.cwd(), folder=folder, progress=Silent(), export=False)
    sealed = max(folder.glob(EXPORTED), key=lambda path: path.stat().st_mtime)
    source = open_artifact(sealed.parent)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        start = time.monotonic()
        quantized = _quantize(step, source, bench, Path(scratch))
        took_s = time.monotonic() - start
        return [_drop(recipe.name, v, source, quantized, bench, took_s) for v in step.variants]


def _recipe(name: str, *, effort: float) -> Recipe:
    changes = [f"effort={effort}"]
    if name.startswith("minilm"):
        changes.append(f"model.input.tokenizer={fetch('minilm-l6') / 'tokenizer.json'}")
    return load_recipe(RECIPES / f"{name}.toml", changes=changes)


def _quantize(step: Quantize, source: Artifact, bench: Bench, scratch: Path) -> Artifact:
    """Run the step as a run does."""
    partial = scratch / "partial"
    partial.mkdir()
    copy_preprocess(source.folder, partial)
    step.apply(source, bench.context(source).only(step.needs), partial)
    return seal_artifact(partial, scratch / "done", [])


def _drop(
    name: str,
    variant: Variant,
    source: Artifact,
    quantized: Artifact,
    bench: Bench,
    took_s: float,
) -> Drop:
    held_out, metric = bench.held_out(source), bench.task.metrics[0]
    base = held_out.reduced(source, source.onnx(FP32))
    fp32 = estimate(metric, base)
    facts = json.loads((quantized.folder / QUANTIZED).read_text(encoding="utf8")).get(variant, {})
    drop = None
    if variant in quantized.variants:
        gain = estimate_gain(metric, held_out.reduced(quantized, quantized.onnx(variant)), base)
        drop = (-gain.value, -gain.high, -gain.low)
    return Drop(
        network=name,
        variant=variant,
        fp32=fp32.value,
        samples=fp32.n,
        drop=drop,
        reason=next((r for r in read_dropped(quantized.folder) if r.startswith(variant)), ""),
        layers=facts.get("layers", 0),
        layers_in_float=len(facts.get("left", ())),
        seconds=took_s,
    )


def _row(drop: Drop) -> Sequence[str]:
    said = drop.reason
    if drop.drop is not None:
        said = f"{drop.drop[0]:+.2f} [{drop.drop[1]:+.2f}, {drop.drop[2]:+.2f}]"
    layers = f"{drop.layers} / {drop.layers_in_float}"
    return [
        *(drop.network, drop.variant, f"{drop.fp32:.2f}", str(drop.samples)),
        *(said, layers, f"{drop.seconds:.0f}"),
    ]


if __name__ == "__main__":
    raise SystemExit(main())

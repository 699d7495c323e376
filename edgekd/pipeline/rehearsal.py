"""Rehearse a recipe: do every step for real, but short, to find failures and estimate times.

A training runs three steps (the first warms up), an export is an export, a calibration takes two
small counts of samples, whose difference is the price of one.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgekd.artifact import FP32, Artifact
from edgekd.data.batches import Data, batch_starts
from edgekd.data.input_options import InputSpec
from edgekd.data.preprocess import Preprocess, read_preprocess
from edgekd.errors import NothingToDo
from edgekd.exporters.ort_session import batch_size, predictor
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.export import Export
from edgekd.pipeline.stage import run_step
from edgekd.progress import Tick
from edgekd.recipe.recipe import titled
from edgekd.step import Step

WARMUP_STEPS, TIMED_STEPS = 1, 2
FEW, MORE = 8, 24  # calibration samples


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """One stage, in seconds of the whole; `sample_s` is one sample through its file."""

    title: str
    training_s: float
    """All epochs, from two training steps at the recipe's batch size."""
    export_s: float
    """Export to ONNX, timed."""
    quantize_s: float
    """Calibration and insertion, also of the early preview of a network."""
    sample_s: float
    files: int
    """That the stage would ship: FP32, and INT8 or its preview."""
    size_bytes: int
    """The stage on disk, its checkpoint included."""


def rehearse(bench: Bench) -> Iterator[Rehearsed]:
    """Do every step short, each from the one before, in the folder of `bench`, which is scratch.

    Raises:
        BadInput: a step cannot be done.
    """
    teacher: Artifact | None = None
    last = Artifact(bench.folder, {})
    steps = [("teacher", bench.recipe.working_teacher), *titled(bench.recipe.working_steps)]
    for title, step in steps:
        before, watch = last, _Stopwatch()
        short = _few(bench, step, watch).context(teacher)
        try:
            last = run_step(step.shorten(FEW), before, short, bench.stages)
        except NothingToDo:
            continue
        export_s = 0.0
        if step.makes_network:
            start = time.monotonic()
            export = Export(opset=bench.recipe.export.opset)
            last = run_step(export, last, bench.context(teacher), bench.stages)
            export_s = time.monotonic() - start
        early = [step] if step.previews else bench.recipe.early if step.makes_network else []
        teacher = teacher or last
        yield Rehearsed(
            title=title,
            training_s=_training_s(bench, step, watch),
            export_s=export_s,
            quantize_s=sum(_quantize_s(bench, each, last) for each in early),
            sample_s=_sample_s(bench, last),
            files=1 + sum(len(each.previews) for each in early),
            size_bytes=_size_bytes(last, step),
        )


def _few(bench: Bench, step: Step, watch: _Stopwatch) -> Bench:
    """Return `bench` with as many training samples as a rehearsed training needs."""
    training = step.training
    if training is None:  # what it sees of them is few already, such as how pixels are scaled
        return replace(bench, progress=watch)
    wanted = (WARMUP_STEPS + TIMED_STEPS) * training.batch_size
    train = np.resize(bench.splits.train, wanted)  # repeats a split that is shorter
    return replace(bench, data=_Few(bench, train), progress=watch)


class _Few(Data):
    """The data with few training samples; what is learned of it still comes from all of it."""

    def __init__(self, bench: Bench, train: NDArray[np.int64]) -> None:
        splits = {**bench.splits.for_steps(), "train": train}
        augment, seed = bench.recipe.data.augment, bench.recipe.seed
        unweighted = replace(bench.dataset, shares=())  # each of the few samples comes once
        super().__init__(unweighted, splits, augment=augment, seed=seed)
        self._all = bench.data

    def choose_preprocess(self, spec: InputSpec, *, root: Path) -> Preprocess:
        return self._all.choose_preprocess(spec, root=root)

    def texts(self) -> list[str]:
        return self._all.texts()


@dataclass
class _Stopwatch:
    """Listens to a training: the moments at which it began and its steps ended."""

    moments: list[float] = field(default_factory=list)

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def track(self, title: str, total: float) -> Iterator[Tick]:
        def tick(advance: float = 1, note: str = "") -> None:
            self.moments.append(time.monotonic())

        yield tick


def _training_s(bench: Bench, step: Step, watch: _Stopwatch) -> float:
    training = step.training
    if training is None:
        return 0.0
    step_s = (watch.moments[-1] - watch.moments[WARMUP_STEPS]) / TIMED_STEPS
    samples = bench.data.per_epoch("train")
    steps = len(batch_starts(samples, training.batch_size, training=True))
    return step_s * steps * training.epochs


def _quantize_s(bench: Bench, step: Step, source: Artifact) -> float:
    """Time the variants of `step`, made of the FP32 file of `source` from few samples."""
    preprocess = read_preprocess(source.folder)
    samples = min(step.calibration_samples, bench.data.count("calibration"))
    counts = sorted({min(count, samples) for count in (FEW, MORE)})
    took = []
    for count in counts:
        with tempfile.TemporaryDirectory(dir=bench.folder) as scratch, suppress(NothingToDo):
            start = time.monotonic()
            short = step.shorten(count)
            short.write_previews(source.onnx(FP32), Path(scratch), preprocess, bench.data)
            took.append(time.monotonic() - start)
    if len(took) < 2:
        return sum(took)
    slope = max(0.0, (took[1] - took[0]) / (counts[1] - counts[0]))
    return took[1] + slope * (samples - counts[1])


def _sample_s(bench: Bench, artifact: Artifact) -> float:
    """Time one batch of the validation split through the FP32 file, after one that warms up."""
    path = artifact.onnx(FP32)
    size = batch_size(path)
    batch = next(bench.data.batches("validation", read_preprocess(artifact.folder), size=size))
    predict = predictor(path)
    predict(batch.inputs[0])
    start = time.monotonic()
    predict(batch.inputs[0])
    return (time.monotonic() - start) / len(batch.index)


def _size_bytes(artifact: Artifact, step: Step) -> int:
    """Return the files of a stage, and the checkpoint that lies there while it trains."""
    files = {path.name: path.stat().st_size for path in artifact.folder.iterdir()}
    training = step.training
    states = 0 if training is None else 3 if training.optimizer == "adamw" else 2
    trained = 1 if step.makes_network else 0  # the step's own stage also contains model.pt
    return sum(files.values()) + (states + trained) * files.get("model.pt", 0)

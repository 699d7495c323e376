"""What a training step costs with a teacher that runs, and with its outputs from the cache.

    python -m edgekd.benchmarks.trials.teacher_cache --json benchmarks/results/teacher-cache.json

The student is ResNet-20 with batches of 128 augmented images of 32 pixels, the teacher
EfficientNet-Lite0 at 64 pixels. Each step is whole: pixels are augmented and encoded, forward,
backward, update. Three kinds take turns, so that all see the same machine:

* plain: labels alone;
* cached: labels and soft targets from the cache;
* live: labels and soft targets of the teacher that runs.

The others are given as ratios of the first. The second table has the size of the cache per 1,000
samples and view, for outputs as they are usual.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgekd.artifact import Artifact
from edgekd.benchmarks.stats.estimate import exp, student
from edgekd.benchmarks.trials.networks import exported
from edgekd.benchmarks.trials.report import conclude
from edgekd.benchmarks.trials.training import in_turns
from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import ImagePreprocess, write_preprocess
from edgekd.distill.losses import SoftTargets
from edgekd.models import efficientnet_lite0, resnet20
from edgekd.networks.blueprint import Deployed
from edgekd.options import Budget, Cache
from edgekd.progress import Silent
from edgekd.step import Context
from edgekd.tasks.classification import Classification
from edgekd.training.cache_packing import bytes_per_sample, choose_packing
from edgekd.training.loop import TRAINED, Course, TrainingBatch, choose_device, place, to_tensors
from edgekd.training.precision import computing
from edgekd.training.signals import Signals, Wanted
from edgekd.training.teacher_cache import CacheRequest, open_cache
from edgekd.training.teacher_outputs import TeacherOutputs, open_teacher
from edgekd.training.trainee import Trainee
from edgekd.training.transfer import Lesson, make_objective

MEAN, STD = (125.0, 123.0, 114.0), (63.0, 62.0, 67.0)
OUTPUTS: Sequence[tuple[str, tuple[int, ...], int | None]] = (
    ("10 class scores", (10,), None),
    ("1,000 class scores", (1000,), None),
    ("1,000 class scores, top = 10", (1000,), 10),
    ("a layer of 64 maps of 8 x 8", (64, 8, 8), None),
)


USUAL = Augment(crop=4, flip=True)
"""What is usual for CIFAR-10."""


def context_of(samples: int, root: Path, augment: Augment = USUAL) -> Context:
    """Return a task, and random images with these views."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (samples, 32, 32, 3), dtype=np.uint8)
    dataset = Dataset("image", {"image": images}, {"label": np.arange(samples) % 10})
    return Context(
        task=Classification(),
        data=Data(dataset, {"train": np.arange(samples)}, augment=augment, seed=0),
        teachers=(),
        device=None,  # type: ignore[arg-type]  # nothing is measured on a device
        budget=Budget(),
        seed=0,
        root=root,
        identity={},
        progress=Silent(),
    )


def teacher_in(folder: Path) -> Artifact:
    """Write a teacher's file, untrained: its speed does not depend on its weights."""
    torch.manual_seed(0)
    path = exported(efficientnet_lite0(classes=10).eval(), 64, folder / "model.fp32.onnx")
    pixels = ImagePreprocess(name="pixels", height=64, width=64, mean=MEAN, std=STD, in_graph=False)
    write_preprocess(folder, pixels)
    return Artifact(folder, {path.name: "", "preprocess.json": ""})


def batches_of(course: Course) -> Iterator[TrainingBatch]:
    """Yield batches for ever."""
    epoch = 0
    while True:
        yield from course.batches(epoch)
        epoch += 1


def step(context: Context, lesson: Lesson, course: Course, network: Trainee) -> Callable[[], None]:
    """Return a whole step of a training: data, forward, backward, update."""
    device = choose_device()
    place(network.train(), device)
    preprocess = course.preprocesses[TRAINED]
    objective = make_objective(network, lesson, context, preprocess)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, nesterov=True)
    batches = batches_of(course)

    def run() -> None:
        batch = next(batches)
        with computing("auto", device):
            signals: Signals = network(to_tensors(batch.inputs[TRAINED], device))
        parts = objective(signals, batch, 0.0)
        loss: Tensor = torch.stack([part.weight * part.value for part in parts]).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return run


def steps(context: Context, teacher: Artifact, folder: Path) -> dict[str, Callable[[], None]]:
    """Return the three kinds of steps; the plain one comes first."""
    terms, wanted = (SoftTargets(),), Wanted()
    live = open_teacher(teacher, context, "auto", wanted, work=folder)
    cached, line = open_cache(
        CacheRequest(Cache(views=2), "trial"), live, wanted, context, epochs=2
    )
    assert cached is not None, line
    own = ImagePreprocess(height=32, width=32, mean=MEAN, std=STD)
    kinds: Mapping[str, tuple[Lesson, TeacherOutputs | None, int | None]] = {
        "plain": (Lesson(), None, None),
        "cached": (Lesson(0.1, terms, cached), cached, cached.views),
        "live": (Lesson(0.1, terms, live), live, None),
    }
    found = {}
    for name, (lesson, guide, views) in kinds.items():
        torch.manual_seed(0)
        network = Trainee(_deployed(own, context))
        preprocesses = {TRAINED: own, **(guide.preprocesses if guide else {})}
        found[name] = step(context, lesson, Course(context.data, preprocesses, 128, views), network)
    return found


def main() -> None:
    """Time, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="steps of each kind")
    parser.add_argument("--short", action="store_true", help="a try in seconds, not a result")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rounds, samples = (3, 512) if arguments.short else (arguments.rounds, 4096)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as name:
        folder = Path(name)
        os.environ["EDGEKD_CACHE"] = str(folder / "cache")
        context, artifact = context_of(samples, folder), teacher_in(folder)
        seconds = in_turns(steps(context, artifact, folder), rounds)
    rows = [[*row, ""] for row in _ratios(seconds)]
    rows += [[title, "", "", size] for title, size in sizes()]
    content = {"torch": torch.__version__, "seconds": seconds, "kB": dict(sizes())}
    heads = ["what", "ms", "of plain", "kB per 1,000 samples and view"]
    conclude("teacher-cache", heads, rows, content, arguments.json)


def sizes() -> list[tuple[str, str]]:
    """Return how many kB 1,000 samples take."""
    found = []
    for title, shape, top in OUTPUTS:
        signal = torch.randn(10, *shape)
        kind = "classes" if len(shape) == 1 else None
        stored = choose_packing(kind, tuple(signal.shape), top).pack(signal)  # type: ignore[arg-type]
        found.append((title, f"{bytes_per_sample(stored):,}"))
    return found


def _ratios(seconds: Mapping[str, list[float]]) -> list[list[str]]:
    first = np.log(seconds["plain"])
    rows = []
    for name, values in seconds.items():
        ratio = exp(student(np.log(values) - first))
        shown = f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        rows.append([name, f"{1e3 * float(np.median(values)):.0f}", shown])
    return rows


def _deployed(preprocess: ImagePreprocess, context: Context) -> Deployed:
    return Deployed(resnet20(classes=10), preprocess, tuple(context.task.signals))


if __name__ == "__main__":
    main()

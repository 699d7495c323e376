"""What a training step costs with its data, and with data that was made before.

    python -m edgekd.benchmarks.trials.input_ahead --json benchmarks/results/input-ahead.json

The student is ResNet-20 with batches of 128 images of 32 pixels, by all cores but those that the
training leaves. Three kinds take turns, 16 steps each, so that all see the same machine:

* stored: the batches were made before, so this is the step without data;
* ahead: threads make the batches while the network trains, as in every training of edgekd;
* in turn: each batch is made when it is needed.

The others are given as ratios of the first, for usual augmentation and for all kinds at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from edgekd.benchmarks.stats.estimate import exp, student
from edgekd.benchmarks.trials.report import conclude
from edgekd.benchmarks.trials.teacher_cache import MEAN, STD, USUAL, context_of, step
from edgekd.benchmarks.trials.training import in_turns
from edgekd.data.augment import Augment, Jitter
from edgekd.data.preprocess import ImagePreprocess
from edgekd.models import resnet20
from edgekd.networks.blueprint import Deployed
from edgekd.training.loop import TRAINED, Course, TrainingBatch, choose_device, choose_workers
from edgekd.training.trainee import Trainee
from edgekd.training.transfer import Lesson

TURN = 16
"""Steps of a kind before the next one, so that few batches are made ahead in another one's turn."""
EVERY = Augment(
    resized_crop=0.5,
    crop=4,
    flip=True,
    trivial_augment=True,
    jitter=Jitter(hue=0.1),
    cutout=8,
    mixup=0.2,
    cutmix=1.0,
)
VIEWS: Mapping[str, Augment] = {"crop and flip": USUAL, "every augmentation": EVERY}


class Stored(Course):
    """A course whose batches were made before."""

    def batches(self, epoch: int) -> Iterator[TrainingBatch]:
        return cycle(list(islice(super().batches(0), TURN)))


def kinds(augment: Augment, *, samples: int, turn: int) -> dict[str, Callable[[], None]]:
    """Return `turn` steps of each kind; those of stored batches come first."""
    context = context_of(samples, Path(), augment)
    own = ImagePreprocess(height=32, width=32, mean=MEAN, std=STD)
    workers = choose_workers("image", choose_device())
    courses = {
        "stored": Stored(context.data, {TRAINED: own}, 128),
        "ahead": Course(context.data, {TRAINED: own}, 128, workers=workers),
        "in turn": Course(context.data, {TRAINED: own}, 128),
    }
    found = {}
    for name, course in courses.items():
        torch.manual_seed(0)
        network = Trainee(Deployed(resnet20(classes=10), own, tuple(context.task.signals)))
        found[name] = _repeated(step(context, Lesson(), course, network), turn)
    return found


def _repeated(one: Callable[[], None], turn: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(turn):
            one()

    return run


def main() -> None:
    """Time, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12, help="turns of each kind")
    parser.add_argument("--short", action="store_true", help="a try in seconds, not a result")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rounds, turn = (2, 2) if arguments.short else (arguments.rounds, TURN)
    seconds = {
        title: in_turns(kinds(views, samples=128 * turn * 4, turn=turn), rounds)
        for title, views in VIEWS.items()
    }
    rows = [row for title, own in seconds.items() for row in _ratios(title, own, turn)]
    content = {"torch": torch.__version__, "steps": turn, "seconds": seconds}
    conclude(
        "input-ahead", ["views", "data", "ms a step", "of stored"], rows, content, arguments.json
    )


def _ratios(title: str, seconds: Mapping[str, Sequence[float]], turn: int) -> list[list[str]]:
    first = np.log(seconds["stored"])
    rows = []
    for name, values in seconds.items():
        ratio = exp(student(np.log(values) - first))
        shown = f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        rows.append([title, name, f"{1e3 * float(np.median(values)) / turn:.1f}", shown])
    return rows


if __name__ == "__main__":
    main()

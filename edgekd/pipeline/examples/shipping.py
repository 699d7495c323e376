"""The teacher and the file that ships on the test split, and samples as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgekd.artifact import FP32
from edgekd.data.dataset import Dataset
from edgekd.evaluation.examples import Thing
from edgekd.evaluation.reduced import Reduced
from edgekd.evaluation.results import Final
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.final import Rung, reduce_test

SHOWN_LETTERS = 200
MOST_PIXELS = 160
"""The longer side of a picture in the report."""


@dataclass(frozen=True)
class Shipping:
    """What is compared: the teacher and what ships, on the test split."""

    bench: Bench
    rungs: Sequence[Rung]
    final: Final

    @property
    def teacher(self) -> Rung:
        """The first rung."""
        return self.rungs[0]

    @property
    def shipped(self) -> Rung:
        """The rung of the file that ships."""
        return next(rung for rung in self.rungs if rung.title == self.final.ships.title)

    @property
    def teacher_ships(self) -> bool:
        """Whether there is nothing to compare."""
        return self.shipped is self.teacher

    def reduced(self) -> tuple[Reduced, Reduced]:
        """Return what the task keeps of both, teacher first."""
        old = reduce_test(self.bench, self.teacher, self.teacher, FP32)
        if self.teacher_ships:
            return old, old
        return old, reduce_test(self.bench, self.teacher, self.shipped, self.final.ships.variant)

    def label(self, value: int) -> str:
        """Return the name of a class."""
        return self.bench.dataset.label_name(value)

    def things(self, index: NDArray[np.int64], labels: Sequence[str]) -> tuple[Thing, ...]:
        """Return samples as they are shown; `index` are their numbers in the data set."""
        return show_things(self.bench.dataset, index, labels)


def show_things(
    dataset: Dataset,
    index: NDArray[np.int64],
    labels: Sequence[str],
    *,
    most_pictures: int | None = None,
) -> tuple[Thing, ...]:
    """Return samples of a data set as they are shown.

    Args:
        dataset: of the samples.
        index: their numbers in it.
        labels: what stands beside each.
        most_pictures: the first so many have a picture; None: all.
    """
    kind = dataset.kind
    drawn = len(index) if most_pictures is None or kind == "text" else most_pictures
    raw = next(iter(dataset.take(index[:drawn])[0].values()))
    samples = [*raw, *[None] * (len(index) - len(raw))]
    return tuple(
        Thing(
            index=int(number),
            label=label,
            image=png_uri(sample) if kind == "image" and sample is not None else None,
            text=str(sample)[:SHOWN_LETTERS] if kind == "text" else None,
        )
        for number, label, sample in zip(index, labels, samples, strict=True)
    )


def png_uri(pixels: NDArray[np.uint8], *, nearest: bool = False) -> str:
    """Return uint8 pixels [height, width, 1 or 3] as a data URI, at most MOST_PIXELS long.

    `nearest` mixes no colours.
    """
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    factor = MOST_PIXELS / max(image.size)
    if factor < 1:
        size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
        way = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
        image = image.resize(size, way)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def spread(worth: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the rows to show: those of the least worth, then those of most, then others evenly.

    `worth` [n] is by how much what ships does better than the teacher in a sample; half of the
    rows at most are losses, and a quarter gains.
    """
    order = np.argsort(worth, kind="stable")
    losses = [int(i) for i in order if worth[i] < 0][: max(1, count // 2)]
    gains = [int(i) for i in order[::-1] if worth[i] > 0][: max(1, count // 4)]
    chosen = [*losses, *gains]
    evenly = np.linspace(0, len(worth) - 1, min(4 * count, len(worth))).astype(int).tolist()
    others = [i for i in dict.fromkeys(evenly) if i not in chosen]
    step = max(1, len(others) // max(1, count - len(chosen)))
    return np.array([*chosen, *others[::step]][:count], np.int64)

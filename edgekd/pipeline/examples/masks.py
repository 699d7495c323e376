"""Segmentation: picture, true mask, the teacher's, the shipped file's, and where they differ."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.artifact import FP32, Artifact, Variant
from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.preprocess import read_preprocess
from edgekd.evaluation.examples import Masks, MaskSample
from edgekd.evaluation.results import ClassChange
from edgekd.exporters.ort_session import batch_size, predictor
from edgekd.pipeline.examples.shipping import Shipping, png_uri, spread
from edgekd.tasks.segmentation import IGNORED, classes_of, resize_nearest
from edgekd.tasks.task import Arrays, name_outputs

SHOWN_MASKS = 8
Colour = tuple[int, int, int]
_COLOURS = "d5dbe3 0072b2 e69f00 009e73 cc79a7 56b4e9 d55e00 f0e442 7f3c8d 8c564b"
_LOST, _WON, _BOTH, _SAME, _LEFT_OUT = (
    (200, 52, 44), (21, 128, 96), (217, 154, 48), (213, 219, 227), (255, 255, 255),
)  # fmt: skip


def find_masks(shipping: Shipping) -> Masks | None:
    """Return masks of test samples; None where the task gives no class for each pixel."""
    task = shipping.bench.task
    if list(task.signals.values()) != ["class map"]:
        return None
    old, new = shipping.reduced()
    if not {"hits", "answered", "labelled"} <= set(old.arrays):
        return None
    right = [_right(found.arrays) for found in (old, new)]
    rows = spread(right[1] - right[0], SHOWN_MASKS)
    index = old.index[rows]
    teacher = _answer(shipping, index, shipping.teacher.artifact, FP32)
    shipped = (
        teacher
        if shipping.teacher_ships
        else _answer(shipping, index, shipping.shipped.artifact, shipping.final.ships.variant)
    )
    truth = shipping.bench.dataset.take(index)[1]["mask"]
    things = shipping.things(index, [""] * len(index))
    samples = tuple(
        _Drawing(truth[i], teacher[i], None if shipping.teacher_ships else shipped[i]).sample(
            int(index[i]), things[i].image, right[0][row], right[1][row]
        )
        for i, row in enumerate(rows)
    )
    met = np.unique(np.concatenate([truth.ravel(), teacher.ravel(), shipped.ravel()]))
    return Masks(
        classes=_classes(shipping, old.arrays, new.arrays),
        samples=samples,
        colours=tuple(
            (shipping.label(int(i)), "#{:02x}{:02x}{:02x}".format(*colour(int(i))))
            for i in met
            if i != IGNORED
        ),
    )


def colour(number: int) -> Colour:
    """Return the colour of a class; the first, which often is the background, is pale."""
    known = _COLOURS.split()
    if number < len(known):
        red, green, blue = bytes.fromhex(known[number])
        return red, green, blue
    parts = colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.55 + 0.4 * (number % 2), 0.8)
    red, green, blue = (round(255 * part) for part in parts)
    return red, green, blue


def _right(arrays: Arrays) -> NDArray[np.float64]:
    pixels = np.maximum(arrays["labelled"].sum(axis=1), 1)
    return np.asarray(100.0 * arrays["hits"].sum(axis=1) / pixels)


def _classes(shipping: Shipping, old: Arrays, new: Arrays) -> tuple[ClassChange, ...]:
    """Return the IoU of each class that a mask of the test split has."""
    found = []
    for i in np.flatnonzero(old["labelled"].sum(axis=0)).tolist():
        overlaps = []
        for arrays in (old, new):
            hits, answered, labelled = (
                float(arrays[name][:, i].sum()) for name in ("hits", "answered", "labelled")
            )
            overlaps.append(100 * hits / (answered + labelled - hits))
        found.append(
            ClassChange(
                label=shipping.label(i),
                samples=int((old["labelled"][:, i] > 0).sum()),
                teacher=overlaps[0],
                shipped=overlaps[1],
            )
        )
    return tuple(found)


def _answer(
    shipping: Shipping, index: NDArray[np.int64], artifact: Artifact, variant: Variant
) -> NDArray[np.int64]:
    """Run a file on some samples; return the class of each pixel in the size of the masks."""
    bench, path = shipping.bench, artifact.onnx(variant)
    run = predictor(path)
    data = Data(bench.dataset, {"test": index}, augment=Augment(), seed=0)
    found = []
    for batch in data.batches("test", read_preprocess(artifact.folder), size=batch_size(path)):
        outputs = bench.task.predict(
            lambda inputs: name_outputs(run(inputs), bench.task), batch.inputs[0]
        )
        maps = classes_of(next(iter(outputs.values())))
        found.append(resize_nearest(maps, *batch.targets["mask"].shape[1:]))
    return np.concatenate(found)


@dataclass(frozen=True)
class _Drawing:
    """The masks of one sample, [height, width] each."""

    truth: NDArray[np.uint8]
    teacher: NDArray[np.int64]
    shipped: NDArray[np.int64] | None

    def sample(
        self, index: int, image: str | None, teacher_right: float, shipped_right: float
    ) -> MaskSample:
        return MaskSample(
            index=index,
            image=image,
            true=_painted(self.truth),
            teacher=_painted(self.teacher),
            shipped=None if self.shipped is None else _painted(self.shipped),
            difference=self._difference(),
            teacher_right=float(teacher_right),
            shipped_right=float(shipped_right),
        )

    def _difference(self) -> str:
        """Red: only the teacher is right; green: only what ships; amber: both wrong, unlike."""
        counted = self.truth != IGNORED
        pixels = np.full((*self.truth.shape, 3), _SAME, np.uint8)
        right = self.teacher == self.truth
        if self.shipped is None:
            pixels[~right] = _LOST
        else:
            unlike = self.teacher != self.shipped
            pixels[unlike] = _BOTH
            pixels[unlike & right] = _LOST
            pixels[unlike & (self.shipped == self.truth)] = _WON
        pixels[~counted] = _LEFT_OUT
        return png_uri(pixels, nearest=True)


def _painted(mask: NDArray[np.integer]) -> str:
    table = np.array([colour(i) for i in range(256)], np.uint8)
    table[IGNORED] = _LEFT_OUT
    return png_uri(table[np.minimum(mask, IGNORED)], nearest=True)

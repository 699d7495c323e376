"""Segmentation: a class for every pixel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.tasks.task import Arrays, Metric, Predictor, SignalKind

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = 255
"""Pixels of a mask with this value count nowhere."""


def class_overlap(reduced: Arrays) -> NDArray[np.float64]:
    """Return intersection over union of each class that was met or answered, in percent."""
    hits, answered, labelled = (
        reduced[name].sum(axis=0, dtype=np.float64) for name in ("hits", "answered", "labelled")
    )
    union = answered + labelled - hits
    return np.asarray(100.0 * hits[union > 0] / union[union > 0])


def mean_overlap(reduced: Arrays) -> float:
    """Return the mean IoU over classes, counted over all pixels of all samples, in percent."""
    found = class_overlap(reduced)
    return float(found.mean()) if len(found) else 0.0


def guessed_overlap(reduced: Arrays) -> float:
    """Return the mean IoU in percent that a guess gets: the better one of two.

    These are the commonest class everywhere, and each class at random as often as it comes, whose
    IoU is p / (2 - p) for a class with the share p.
    """
    labelled = reduced["labelled"].sum(axis=0, dtype=np.float64)
    share = labelled[labelled > 0] / max(1.0, labelled.sum())
    if not len(share):
        return 0.0
    return float(100.0 * max(share.max() / len(share), (share / (2 - share)).mean()))


def worst_overlap(reduced: Arrays) -> float:
    """Return the IoU of the class that does worst, in percent."""
    return float(class_overlap(reduced).min(initial=100.0))


def _right(reduced: Arrays) -> NDArray[np.float64]:
    pixels = np.maximum(reduced["labelled"].sum(axis=1), 1)
    return np.asarray(100.0 * reduced["hits"].sum(axis=1) / pixels)


class Segmentation:
    """A class for every pixel; the model gives `logits`, shape [batch, classes, height, width].

    One channel is the logit of class 1 against class 0.

    `targets["mask"]` is uint8 [n, height, width]: the class of each pixel, or 255 to leave it out.
    Where the sizes differ, the nearest pixel counts: the loss has the size of the logits, the
    metrics that of the mask.
    """

    target: ClassVar = "mask"
    signals: Mapping[str, SignalKind] = {"logits": "class map"}
    metrics: Sequence[Metric] = (
        Metric("mean IoU", "%", whole=mean_overlap, is_percentage=True, chance=guessed_overlap),
        Metric("pixel accuracy", "%", values=_right, is_percentage=True),
        Metric("worst class IoU", "%", whole=worst_overlap, is_percentage=True),
    )

    def predict(self, model: Predictor, inputs: Arrays) -> Arrays:
        return model(inputs)

    def reference(self, predictions: Arrays) -> Arrays:
        return {}

    def reduce(self, predictions: Arrays, targets: Arrays, teacher: Arrays) -> Arrays:
        logits, mask = predictions["logits"], targets["mask"]
        classes = _classes(logits, mask)
        answer = resize_nearest(classes_of(logits), *mask.shape[1:])
        counted = mask != IGNORED
        sample = np.arange(len(mask))[:, None, None] * classes

        def count(maps: NDArray[Any], where: NDArray[np.bool_]) -> NDArray[np.int64]:
            found = np.bincount((sample + maps)[where], minlength=len(mask) * classes)
            return found.reshape(len(mask), classes)

        return {
            "hits": count(answer, counted & (answer == mask)),
            "answered": count(answer, counted),
            "labelled": count(mask, counted),
        }

    def loss(self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        import torch
        from torch.nn.functional import cross_entropy

        logits, mask = outputs["logits"].float(), targets["mask"]
        _classes(logits, mask)
        if logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        fitted = resize_nearest(mask, *logits.shape[2:]).long()
        each = cross_entropy(logits, fitted, ignore_index=IGNORED, reduction="none")
        pixels = (fitted != IGNORED).sum(dim=(1, 2)).clamp(min=1)
        loss: Tensor = each.sum(dim=(1, 2)) / pixels
        return loss

    def check(self, targets: Arrays) -> None:
        if "mask" not in targets:
            found = ", ".join(sorted(targets)) or "no targets"
            raise DataError(
                f"task 'segmentation' needs a target 'mask', class numbers uint8 [n, height, "
                f"width]; got {found}. Give a folder with images/ and masks/ (PNG, a class number "
                "for each pixel, the same names), or arrays x and y"
            )


def classes_of(logits: NDArray[Any]) -> NDArray[np.int64]:
    """Return the class of each pixel, [batch, height, width]."""
    found = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(axis=1)
    return found.astype(np.int64)


def resize_nearest(maps: Any, height: int, width: int) -> Any:
    """Return arrays or tensors [n, h, w] brought to another size by taking the nearest pixel."""
    if tuple(maps.shape[1:]) == (height, width):
        return maps
    rows, columns = (
        (2 * np.arange(new) + 1) * old // (2 * new)
        for new, old in ((height, maps.shape[1]), (width, maps.shape[2]))
    )
    return maps[:, rows][:, :, columns]


def _classes(logits: Any, mask: Any) -> int:
    """Return the number of classes of an output.

    Raises:
        DataError: it is not [batch, classes, height, width], or the masks have more classes.
    """
    if len(logits.shape) != 4:
        raise DataError(
            f"task 'segmentation' needs logits [batch, classes, height, width]; the model gives "
            f"{list(logits.shape)}"
        )
    classes = max(2, int(logits.shape[1]))
    counted = mask[mask != IGNORED]
    last = int(counted.max()) if len(counted) else 0
    if last >= classes:
        found = sorted({int(value) for value in np.unique(np.asarray(mask))})
        raise DataError(
            f"class {last} is in a mask, but the network has {classes} classes (0 to "
            f"{classes - 1}; {IGNORED} is left out); build it with more classes or fix the masks. "
            f"The values met here are {', '.join(map(str, found[:12]))}"
            f"{', ...' if len(found) > 12 else ''}; classes are counted 0, 1, 2, ..."
        )
    return classes

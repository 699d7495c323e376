"""Whether the given model is better than a guess, before anything is built on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.data.preprocess import Preprocess
from edgekd.data.targets import natural_order
from edgekd.errors import ModelError
from edgekd.evaluation.formatting import quality
from edgekd.evaluation.quality import estimate
from edgekd.evaluation.reduced import Reduced
from edgekd.step import Context
from edgekd.tasks.task import Arrays, Predictor, name_outputs

_BATCH, _MOST_SAMPLES = 16, 512
_CAUSES = (
    "the order of the classes (labels in [data]), normalisation (mean and std of the model's "
    "input), the order of the colour channels, or classes that are a part of the model's"
)
_GO_ON = "If it is meant to be so, set allow_poor_teacher = true (--set allow_poor_teacher=true)."


def check_baseline(predictor: Predictor, preprocess: Preprocess, context: Context) -> None:
    """Refuse a model whose first metric is that of a guess on the validation split.

    That is, its 95 % interval reaches what the commonest class gives, or zero. At most 512 samples
    are looked at, spread over the split.

    Raises:
        ModelError: it does; the message names the causes, and the order of classes that fits.
    """
    metric = context.task.metrics[0]
    if metric.better != "higher" or not context.data.targets("validation"):
        return
    seen = _answers(predictor, preprocess, context)
    found = estimate(metric, seen)
    label, answer = seen.arrays.get("label"), seen.arrays.get("answer")
    if label is None or answer is None or "classes" not in context.task.signals.values():
        if found.low <= 0:
            raise ModelError(
                f"the model's {metric.name} is {quality(found)} on the validation split: nothing "
                f"can be learned from it. Likely causes: {_CAUSES}. {_GO_ON}"
            )
        return
    chance = 100.0 * float(np.bincount(label).max()) / len(label)
    if found.low > chance:
        return
    said = (
        f"the model is right in {quality(found)} % of {found.n} validation samples, and always "
        f"answering the commonest class gives {chance:.1f} %: nothing can be learned from it. "
    )
    names = context.data.labels or tuple(map(str, range(int(label.max()) + 1)))
    better = find_order(label, answer, names, classes=int(seen.arrays["classes"][0]))
    raise ModelError(f"{said}{better or f'Likely causes: {_CAUSES}.'} {_GO_ON}")


def find_order(
    label: NDArray[np.int64], answer: NDArray[np.int64], names: Sequence[str], *, classes: int
) -> str:
    """Return which order of the classes fits the answers, in words, or "" if none does.

    It must be right far more often than the commonest class, and than a chance permutation would.

    Args:
        label: class of each sample, by the order of `names`.
        answer: what the model gives for each.
        names: of the data's classes, in the order of the data.
        classes: how many the model has.
    """
    share = float(np.bincount(label).max()) / len(label)
    for title, order in _orders(label, answer, names):
        place = {name: i for i, name in enumerate(order)}
        renamed = np.array([place.get(name, -1) for name in names])[label]
        right = float((renamed == answer).mean())
        if right > max(0.6, 2 * share) and len(order) <= classes:
            listed = ", ".join(f'"{name}"' for name in order)
            return (
                f"With its classes in {title} it is right in {100 * right:.1f} %: set labels = "
                f"[{listed}] in [data] (--set 'data.labels=[...]')."
            )
    for shift in (1, -1):
        right = float((label + shift == answer).mean())
        if right > max(0.6, 2 * share):
            return (
                f"With every class number {'raised' if shift == 1 else 'lowered'} by one it is "
                f"right in {100 * right:.1f} %: the model counts its classes from another number "
                "than the data; name all classes of the model in order, labels in [data]."
            )
    return ""


def _orders(
    label: NDArray[np.int64], answer: NDArray[np.int64], names: Sequence[str]
) -> Iterator[tuple[str, Sequence[str]]]:
    yield "text order", sorted(names)
    yield "number order", sorted(names, key=natural_order)
    yield "text order without regard to capitals", sorted(names, key=str.casefold)
    yield "reverse order", list(reversed(names))
    table = np.zeros((len(names), max(len(names), int(answer.max()) + 1)), np.int64)
    np.add.at(table, (label, answer), 1)
    mostly = table.argmax(axis=1)
    if len(set(mostly.tolist())) == len(names) == int(mostly.max()) + 1:
        yield "the order that its answers suggest", [names[i] for i in np.argsort(mostly)]


def _answers(predictor: Predictor, preprocess: Preprocess, context: Context) -> Reduced:
    """Run the model on batches spread over the validation split."""
    task = context.task
    kept: list[Arrays] = []

    def model(inputs: Arrays) -> Arrays:
        return name_outputs(predictor(inputs), task)

    index = []
    every = max(1, context.data.count("validation") // _MOST_SAMPLES)
    batches = context.data.batches("validation", preprocess, size=_BATCH)
    for number, batch in enumerate(batches):
        if number % every:
            continue
        predictions = task.predict(model, batch.inputs[0])
        reduced = dict(task.reduce(predictions, batch.targets, task.reference(predictions)))
        for name, kind in task.signals.items():
            if kind == "classes" and name in predictions:
                width = predictions[name].shape[-1]
                reduced["classes"] = np.full(len(batch.index), width)
        kept.append(reduced)
        index.append(batch.index)
    joined = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
    return Reduced(joined, np.concatenate(index))

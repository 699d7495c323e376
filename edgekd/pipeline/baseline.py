"""Whether the given model is better than a guess, before anything is built on it."""

from __future__ import annotations

import numpy as np

from edgekd.data.preprocess import Preprocess
from edgekd.errors import ModelError
from edgekd.evaluation.class_order import find_order
from edgekd.evaluation.formatting import quality
from edgekd.evaluation.quality import estimate
from edgekd.evaluation.reduced import Reduced
from edgekd.step import Context
from edgekd.tasks.task import Arrays, Predictor, name_outputs
from edgekd.wording import option

_BATCH, _MOST_SAMPLES = 16, 512


def _causes() -> str:
    return (
        f"the order of the classes ({option('data.labels')}), normalisation "
        f"({option('normalize')}), the order of the colour channels "
        f"({option('model.input.colours', 'bgr')}), or classes that are a part of the model's"
    )


def _go_on() -> str:
    return f"If it is meant to be so: {option('allow_poor_teacher', True)}."


def check_baseline(
    predictor: Predictor, preprocess: Preprocess, context: Context, *, trains: bool
) -> None:
    """Refuse a model whose first metric is that of a guess on the validation split.

    That is, its 95 % interval reaches what the commonest class gives, or zero. At most 512 samples
    are looked at, spread over the split.

    Where nothing is trained, a low value whose cause is not found is a warning: a quantized file is
    then still compared with its float file.

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
                f"can be learned from it. Likely causes: {_causes()}. {_go_on()}"
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
    better = find_order(label, answer, names)
    if better or trains:
        raise ModelError(f"{said}{better or f'Likely causes: {_causes()}.'} {_go_on()}")
    context.progress.say(
        f"warning: {said}Likely causes: {_causes()}. Nothing is trained, so it goes on"
    )


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
        kept.append(task.reduce(predictions, batch.targets, task.reference(predictions)))
        index.append(batch.index)
    joined = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
    return Reduced(joined, np.concatenate(index))

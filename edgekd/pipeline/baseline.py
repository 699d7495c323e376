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
from edgekd.tasks.task import Arrays, Metric, Predictor, Task, name_outputs
from edgekd.wording import option

_BATCH, _SAMPLES = 16, 512


def _causes() -> str:
    return (
        f"the order of the classes ({option('data.labels')}), normalisation "
        f"({option('normalize')}), the order of the colour channels "
        f"({option('model.input.colours', 'bgr')}), or classes that are a part of the model's"
    )


def _causes_elsewhere() -> str:
    return (
        "targets of other samples, in another order or another unit than those that it was trained "
        f"on, normalisation ({option('normalize')}), or the order of the colour channels "
        f"({option('model.input.colours', 'bgr')})"
    )


def _go_on() -> str:
    return f"If it is meant to be so: {option('allow_poor_teacher', True)}."


def check_baseline(
    predictor: Predictor, preprocess: Preprocess, context: Context, *, trains: bool
) -> None:
    """Refuse a model whose first metric is that of a guess on the validation split.

    That is, its 95 % interval reaches what a guess gets (`Metric.chance`). Of a large split 512 to
    1024 samples are looked at, spread over it.

    Where nothing is trained, a low value whose cause is not found is a warning: a quantized file is
    then still compared with its float file.

    Raises:
        ModelError: it does; the message names the causes, and the order of classes that fits.
    """
    if not context.data.targets("validation"):
        return
    seen = _answers(predictor, preprocess, context)
    doubt = describe_doubt(context.task, seen)
    if doubt:
        raise ModelError(f"the model's {doubt}. {_go_on()}")
    said = describe_chance(context.task.metrics[0], seen)
    if not said:
        return
    label, answer, better = seen.arrays.get("label"), seen.arrays.get("answer"), ""
    is_classes = "classes" in context.task.signals.values()
    if label is not None and answer is not None and is_classes:
        names = context.data.labels or tuple(map(str, range(int(label.max()) + 1)))
        better = find_order(label, answer, names)
    causes = f"Likely causes: {_causes() if is_classes else _causes_elsewhere()}."
    if better or trains:
        raise ModelError(
            f"the model's {said}: nothing can be learned from it. {better or causes} {_go_on()}"
        )
    context.progress.say(f"warning: the model's {said}. {causes} Nothing is trained, so it goes on")


def describe_chance(metric: Metric, seen: Reduced) -> str:
    """Return a metric beside what a guess gets, if its interval reaches that; else ""."""
    if metric.chance is None or metric.better != "higher":
        return ""
    found, chance = estimate(metric, seen), metric.chance(seen.arrays)
    if found.low > chance:
        return ""
    unit = f" {metric.unit}".rstrip()
    return (
        f"{metric.name} is {quality(found)}{unit} on {found.n} validation samples, and a guess "
        f"gets {chance:.1f}{unit}"
    )


def describe_doubt(task: Task, seen: Reduced) -> str:
    """Return why the answers are hardly what the task takes, where it can tell; else ""."""
    doubt = getattr(task, "doubt", None)
    return "" if doubt is None else str(doubt(seen.arrays))


def warn_of_chance(task: Task, seen: Reduced) -> str:
    """Return the warning for a finished teacher that is no better than a guess; else ""."""
    doubt, said = describe_doubt(task, seen), describe_chance(task.metrics[0], seen)
    if doubt:
        return f"The teacher's {doubt}."
    return said and (
        f"The teacher's {said}: all that is compared with it means little. If the run trained it, "
        "give it more epochs, another learning rate or more data."
    )


def _answers(predictor: Predictor, preprocess: Preprocess, context: Context) -> Reduced:
    """Run the model on batches spread over the validation split."""
    task = context.task
    kept: list[Arrays] = []

    def model(inputs: Arrays) -> Arrays:
        return name_outputs(predictor(inputs), task)

    index = []
    every = max(1, context.data.count("validation") // _SAMPLES)
    batches = context.data.batches("validation", preprocess, size=_BATCH)
    for number, batch in enumerate(batches):
        if number % every:
            continue
        predictions = task.predict(model, batch.inputs[0])
        kept.append(task.reduce(predictions, batch.targets, task.reference(predictions)))
        index.append(batch.index)
    joined = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
    return Reduced(joined, np.concatenate(index))

"""Whether the given model is better than a guess, before anything is built on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np

from edgekd.artifact import FP32, Artifact
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import Preprocess
from edgekd.data.source import Source
from edgekd.data.tables import SUFFIXES as TABLES
from edgekd.errors import ModelError
from edgekd.evaluation.class_order import describe_folders, find_order
from edgekd.evaluation.formatting import quality
from edgekd.evaluation.quality import estimate
from edgekd.evaluation.reduced import Reduced
from edgekd.exporters.file_facts import Entry
from edgekd.exporters.model_stats import facts
from edgekd.pipeline.bench import Bench
from edgekd.recipe.recipe import Recipe
from edgekd.step import Context
from edgekd.tasks.task import Arrays, Metric, Predictor, Task, name_outputs
from edgekd.wording import option

_BATCH, _SAMPLES = 16, 512


def describe_causes(task: Task, data: Data, source: Source, *, outputs: int = 0) -> str:
    """Return why a given model may be no better than a guess, by the kind of task and data.

    Args:
        task: of the run.
        data: its kind, and the folders that were taken as classes.
        source: the data as a recipe has it.
        outputs: the number of the model's classes; 0: it has none, or it is not known.
    """
    folders = describe_folders(data.folders, outputs)
    causes = "; ".join([*_of_targets(task, source), *_of_inputs(data.kind)])
    return f"{folders} Other likely causes: {causes}." if folders else f"Likely causes: {causes}."


def _of_targets(task: Task, source: Source) -> list[str]:
    kinds = set(task.signals.values())
    if "classes" in kinds:
        order = f"the order of the classes ({option('data.labels')})"
        return [order, "classes that are a part of the model's"]
    if "values" in kinds:
        is_table = PurePath(source.path or "").suffix.lower() in TABLES
        column = f" (their column: {option('data.label_column')})" if is_table else ""
        return [f"other targets than it was trained on{column}, or these in another unit"]
    return ["targets of other samples, or in another order than those that it was trained on"]


def _of_inputs(kind: str) -> list[str]:
    if kind == "image":
        return [
            f"normalisation ({option('normalize')})",
            f"the order of the colour channels ({option('model.input.colours', 'bgr')})",
        ]
    if kind == "text":
        return [f"another tokenizer than it was trained with ({option('model.input.tokenizer')})"]
    return ["inputs scaled otherwise, in other units or in another order than in its training"]


def _go_on() -> str:
    return f"If it is meant to be so: {option('allow_poor_teacher', True)}."


def check_baseline(
    predictor: Predictor, preprocess: Preprocess, context: Context, recipe: Recipe
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
    seen, outputs = _answers(predictor, preprocess, context)
    doubt = describe_doubt(context.task, seen)
    if doubt:
        raise ModelError(f"the model's {doubt}. {_go_on()}")
    said = describe_chance(context.task.metrics[0], seen)
    if not said:
        if note := note_folders(context.data, outputs):
            context.progress.say(note)
        return
    label, answer, better = seen.arrays.get("label"), seen.arrays.get("answer"), ""
    is_classes = "classes" in context.task.signals.values()
    if label is not None and answer is not None and is_classes:
        names = context.data.labels or tuple(map(str, range(int(label.max()) + 1)))
        better = find_order(label, answer, names)
    causes = describe_causes(context.task, context.data, recipe.data, outputs=outputs)
    if better or recipe.trains:
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


def note_folders(data: Data, outputs: int) -> str:
    """Say it where folders that were taken as classes are not as many as the model's; else ""."""
    return describe_folders(data.folders, outputs) if outputs not in (0, len(data.folders)) else ""


def note_seen(recipe: Recipe, dataset: Dataset) -> str:
    """Say it where a given model perhaps learned from what it is now judged by; else ""."""
    is_known = recipe.model.training is not None or "validation" in dataset.fixed
    learns = any(step.training is not None for step in recipe.working_steps)
    if is_known or not learns or not dataset.targets:
        return ""
    return (
        "edgekd splits the data itself, so the given model may have been trained on some of the "
        "validation and test samples. Its quality is then overestimated, and so is the loss of a "
        "student. If you have the splits that it was trained with, provide them (train, val, test)"
    )


def count_classes(task: Task, outputs: Sequence[Entry]) -> int:
    """Return the number of classes of a network with these outputs; 0: it has none."""
    is_classes = "classes" in task.signals.values()
    shape = outputs[0].shape if outputs and is_classes else ()
    return shape[1] if len(shape) == 2 and isinstance(shape[1], int) else 0


def warn_of_chance(task: Task, seen: Reduced, *, advice: str) -> str:
    """Return the warning for a finished teacher that is no better than a guess; else "".

    Args:
        task: of the run.
        seen: its answers.
        advice: the causes, or the cures.
    """
    doubt, said = describe_doubt(task, seen), describe_chance(task.metrics[0], seen)
    if doubt:
        return f"The teacher's {doubt}."
    return said and f"The teacher's {said}: all that is compared with it means little. {advice}"


def warn_of_teacher(bench: Bench, teacher: Artifact) -> str:
    """Return the warning for the finished teacher of a run; else ""."""
    file = teacher.onnx(FP32)
    advice = "Give it more epochs, another learning rate or more data."
    if bench.recipe.model.training is None:
        outputs = count_classes(bench.task, facts(file).outputs)
        advice = describe_causes(bench.task, bench.data, bench.recipe.data, outputs=outputs)
    seen = bench.examiner(teacher).reduced(teacher, file)
    return warn_of_chance(bench.task, seen, advice=advice)


def _answers(predictor: Predictor, preprocess: Preprocess, context: Context) -> tuple[Reduced, int]:
    """Run the model on batches spread over the validation split.

    Returns:
        What is kept of its answers, and the number of its classes, 0 where it has none.
    """
    task, outputs = context.task, 0
    kept: list[Arrays] = []

    def model(inputs: Arrays) -> Arrays:
        return name_outputs(predictor(inputs), task)

    classes = next((n for n, kind in task.signals.items() if kind == "classes"), None)
    index = []
    every = max(1, context.data.count("validation") // _SAMPLES)
    batches = context.data.batches("validation", preprocess, size=_BATCH)
    for number, batch in enumerate(batches):
        if number % every:
            continue
        predictions = task.predict(model, batch.inputs[0])
        outputs = 0 if classes is None else predictions[classes].shape[1]
        kept.append(task.reduce(predictions, batch.targets, task.reference(predictions)))
        index.append(batch.index)
    joined = {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}
    return Reduced(joined, np.concatenate(index)), outputs

"""Set up a run: its data, task, devices and splits, and what can be checked before any work."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.images import SizesDiffer
from edgekd.data.model_classes import number_classes
from edgekd.data.source import open_source
from edgekd.data.splits import Splits, describe_missing
from edgekd.data.stored_splits import run_splits
from edgekd.data.targets import describe_scale
from edgekd.devices import open_place
from edgekd.errors import DataError, few
from edgekd.evaluation.gate import describe_floor
from edgekd.evaluation.other_work import warn_of_others, watch_others
from edgekd.evaluation.quality import count_needed_samples, expected_interval, least_budget
from edgekd.evaluation.spent_time import TimeLog
from edgekd.pipeline.baseline import note_seen
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.preflight import forecast_networks
from edgekd.pipeline.run_folder import exported_before, hash_networks
from edgekd.pipeline.without_labels import (
    open_reference,
    settle_budget,
    settle_recipe,
    wants_labels,
)
from edgekd.progress import Progress
from edgekd.quantization.step import Quantize
from edgekd.recipe.image_options import USUAL_SIZE
from edgekd.recipe.option_tree import list_functions
from edgekd.recipe.recipe import QUICK_SAMPLES, Recipe
from edgekd.tasks import EMBEDDING, REFERENCE, open_task
from edgekd.tasks.classification import Classification
from edgekd.tasks.reference import Reference
from edgekd.tasks.task import Task
from edgekd.teacher.hf_model import HfModel
from edgekd.teacher.hf_network import HfNetwork
from edgekd.teacher.onnx_file import OnnxFile
from edgekd.user_code import is_given, resolve
from edgekd.wording import option


def set_up(
    recipe: Recipe, *, root: Path, folder: Path, progress: Progress, export: bool = True
) -> Bench:
    """Open the data, the task and the device, and check all that can be checked before any work.

    Nothing is written to `folder`. Networks that are yet to be trained are exported once for a
    try, unless `export` is off: to learn after a night that one cannot be is too late.

    Raises:
        DataError: the data cannot serve this recipe, or are not those that the run began with.
        ModelError: a network cannot be built or cannot take the data.
        RecipeError: the task or the device is not known.
    """
    others = watch_others()
    recipe = _with_task(recipe, root=root, progress=progress)
    _check_code(recipe, root=root, progress=progress)
    task = None if recipe.task is None else open_task(recipe.task, root=root)
    places = tuple(open_place(device) for device in recipe.devices)
    recipe, dataset = _open_data(recipe, task, root=root, progress=progress)
    dataset = _with_classes(recipe, dataset, root=root, progress=progress)
    if dataset.skipped:
        progress.say(
            f"left out {len(dataset.skipped)} samples that cannot be read: {few(dataset.skipped)}"
        )
    recipe = _with_head(settle_recipe(recipe, dataset), root=root, progress=progress)
    asked = task = task or open_task(str(recipe.task), root=root)
    if recipe.task == REFERENCE:
        task = open_task(REFERENCE, root=root)
    task.check(dataset.targets)
    splits = _split(recipe, dataset, folder=folder, progress=progress)
    augment, seed = recipe.data.augment, recipe.seed
    bench = Bench(
        recipe=recipe,
        root=root,
        folder=folder,
        dataset=dataset,
        splits=splits,
        task=task,
        data=Data(dataset, splits.for_steps(), augment=augment, seed=seed),
        test=Data(dataset, {"test": splits.test}, augment=augment, seed=seed),
        places=places,
        timing=recipe.timing,
        progress=progress,
        log=TimeLog(folder),
    )
    if isinstance(task, Reference):
        bench = _with_reference(bench, asked)
    check(bench, export=export)
    if bench.device.name == "local":
        warning = warn_of_others(others(), bench.device.conditions(bench.setup))
        if warning:
            progress.say(warning)
    return bench


def _with_task(recipe: Recipe, *, root: Path, progress: Progress) -> Recipe:
    """Return the recipe with the task that a model of transformers is for, unless it names one."""
    if recipe.task is not None or not isinstance(recipe.model, HfModel):
        return recipe
    task = recipe.model.natural_task(root)
    if task is None:
        return recipe
    progress.say(f"task: {task}, by the architecture of {recipe.model.hf} ({option('task', task)})")
    return recipe.model_copy(update={"task": task})


def _with_head(recipe: Recipe, *, root: Path, progress: Progress) -> Recipe:
    """Return the recipe with a fine-tuning, where a model of transformers has no head for labels.

    `recipe.task` is settled.
    """
    if not isinstance(recipe.model, HfNetwork):
        return recipe
    wants_head = recipe.task not in (REFERENCE, EMBEDDING)
    model, said = recipe.model.settled(root, wants_head=wants_head)
    if said:
        progress.say(said)
    return recipe.model_copy(update={"model": model})


def _check_code(recipe: Recipe, *, root: Path, progress: Progress) -> None:
    """Name the user's code, and check it and the files that the recipe names.

    It is done before the data is decoded, which may take minutes.
    """
    code = [n for n in list_functions(recipe) if ":" in n and not n.startswith("edgekd.")]
    files = dict.fromkeys(name for name in code if not is_given(name))
    if files:
        progress.say(f"this recipe runs code: {', '.join(files)}")
    for step in (recipe.model, *recipe.steps):
        step.content(root)
    _check_float(recipe, root=root)
    for name in dict.fromkeys(code):
        resolve(name, root=root)
    for step in (recipe.model, *recipe.steps):
        step.check_early(root)


def _check_float(recipe: Recipe, *, root: Path) -> None:
    """Refuse a file that is quantized already and is to be quantized, before it is timed."""
    from edgekd.exporters.model_stats import facts
    from edgekd.quantization.graph_preparation import refuse_quantized

    model = recipe.model
    if isinstance(model, OnnxFile) and any(isinstance(step, Quantize) for step in recipe.steps):
        refuse_quantized(facts(model.file(root)).operators, model.onnx)


def _open_data(
    recipe: Recipe, task: Task | None, *, root: Path, progress: Progress
) -> tuple[Recipe, Dataset]:
    """Open the data; images that differ in size are brought to the size that the model takes."""
    wanted, labelled = getattr(task or Classification(), "target", None), wants_labels(recipe)
    opened = partial(
        open_source,
        root=root,
        wanted=wanted,
        labelled=labelled,
        inputs=recipe.model.input_forms(root),
        progress=progress,
    )
    try:
        return recipe, opened(recipe.data)
    except SizesDiffer:
        size = recipe.model.input_size(root)
    height, width = size or (USUAL_SIZE, USUAL_SIZE)
    why = "as the model takes them" if size else "a usual size: the model does not state its own"
    other = option("data.size", USUAL_SIZE)
    progress.say(
        f"the images differ in size: each becomes {height} x {width} (height x width), {why}, by "
        f"{option('data.resize', recipe.data.resize)}{'' if size else f'; another with {other}'}"
    )
    size = (height, width)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"size": size})})
    return recipe, opened(recipe.data)


def _with_classes(recipe: Recipe, dataset: Dataset, *, root: Path, progress: Progress) -> Dataset:
    """Return the data with the classes that a bare file states by name, unless a list is given."""
    if recipe.data.labels is not None or recipe.data.classes is not None:
        return dataset
    names = recipe.model.class_names(root)
    numbered = number_classes(dataset, names)
    if numbered is dataset:
        return dataset
    have = len(np.unique(numbered.targets["label"]))
    progress.say(
        f"classes are those that metadata of the file names: the data has {have} of its "
        f"{len(names)}"
    )
    return numbered


def _split(recipe: Recipe, dataset: Dataset, *, folder: Path, progress: Progress) -> Splits:
    """Return the splits of the run, and say what is unusual in them."""
    splits, remark = run_splits(folder, recipe.data.split_options(recipe.seed), dataset)
    splits = splits.few(QUICK_SAMPLES) if recipe.quick else splits
    trained = recipe.model.training is not None and "value" in dataset.targets
    scale = describe_scale(dataset.targets["value"]) if trained else ""
    for words in (remark, describe_missing(dataset, splits), scale, note_seen(recipe, dataset)):
        if words:
            progress.say(words)
    return splits


def _with_reference(bench: Bench, asked: Task) -> Bench:
    """Return it with the task that compares the outputs of this teacher, and with its floors."""
    task = open_reference(bench.recipe, bench.context(None), asked)
    bench = replace(bench, task=task, recipe=settle_budget(bench.recipe, task))
    floors = " and ".join(describe_floor(k, v) for k, v in bench.recipe.budget.floors.items())
    bench.progress.say(
        f"without labels: the model's own outputs are the reference; wanted is at least {floors}"
    )
    return bench


def check(bench: Bench, *, export: bool = True) -> None:
    """Refuse what would fail or mean nothing later, before any work is done.

    Raises:
        DataError: a budget that was asked for cannot be checked, or labels do not fit.
        ModelError: see `forecast_networks`.
    """
    recipe, have = bench.recipe, bench.data.count("validation")
    metric = bench.task.metrics[0]
    is_share = metric.is_percentage and metric.values is not None
    counted = is_share and not metric.against_teacher
    needed = count_needed_samples(recipe.budget.max_drop) if counted else 0
    if have < needed and not recipe.quick:
        _few_samples(bench, have, needed)
    tried = hash_networks(bench)
    untried = tried is not None and tried != exported_before(bench.folder)
    judge = export and (tried is None or untried)
    forecast_networks(recipe, bench.context(None), export=export and untried, judge=judge)


def _few_samples(bench: Bench, have: int, needed: int) -> None:
    """Refuse a budget that was asked for and cannot be checked; warn where it is the default.

    Raises:
        DataError: max_drop or strict was set.
    """
    budget = bench.recipe.budget
    found = (
        f"the validation split has {have} samples; a budget of {budget.max_drop:g} points needs "
        f"{needed}: with fewer, an equally accurate model would be rejected by chance in more than "
        "5 % of runs"
    )
    if {"max_drop", "strict"} & budget.model_fields_set:
        allow = f"allow more ({option('budget.max_drop', least_budget(have))})"
        more = have + bench.data.count("train")
        if "validation" in bench.dataset.fixed or needed > more // 2:
            raise DataError(f"{found}. Give more validation data, or {allow}")
        aside = f"set more aside ({option('data.validation', needed)})"
        raise DataError(f"{found}. Either {aside}, or {allow}")
    wide = 100 * expected_interval(have)
    bench.progress.say(
        f"{found}. The run continues, since the budget is the default; a loss is known to about "
        f"{wide:.1f} points (95 %, if 2 % of the answers change)"
    )

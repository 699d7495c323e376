"""Set up a run: its folder, data, task, devices and splits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.artifact import Artifact
from edgekd.benchmarks.measurement import Setup, Timing
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.images import SizesDiffer
from edgekd.data.model_classes import number_classes
from edgekd.data.source import open_source
from edgekd.data.splits import Splits, describe_missing
from edgekd.data.stored_splits import run_splits, write_splits
from edgekd.data.targets import describe_scale
from edgekd.devices import open_place
from edgekd.devices.device import Device, Place
from edgekd.errors import DataError, RunFolderError
from edgekd.evaluation.examiner import Examiner
from edgekd.evaluation.gate import describe_floor
from edgekd.evaluation.predictions import Predictions
from edgekd.evaluation.quality import count_needed_samples, expected_interval, least_budget
from edgekd.evaluation.spent_time import FILE, TimeLog
from edgekd.pipeline.preflight import forecast_networks
from edgekd.pipeline.without_labels import (
    open_reference,
    settle_budget,
    settle_recipe,
    wants_labels,
)
from edgekd.progress import Progress
from edgekd.recipe.image_options import USUAL_SIZE
from edgekd.recipe.option_tree import list_functions
from edgekd.recipe.recipe import QUICK_SAMPLES, Recipe
from edgekd.step import DATA_NEEDS, Context, Need
from edgekd.store import digest, write_atomic, write_json
from edgekd.tasks import REFERENCE, open_task
from edgekd.tasks.classification import Classification
from edgekd.tasks.reference import Reference
from edgekd.tasks.task import Task
from edgekd.training.losses import FOLDER as LOSSES
from edgekd.user_code import hash_source, is_given, resolve
from edgekd.wording import option

RECORD = "run.json"
OWN = {
    "stages",
    LOSSES,
    "evidence",
    "predictions",
    "feeds",
    "bundle",
    "splits.json",
    "recipe.json",
    FILE,
}
"""Files that a run folder without its record may contain."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a run uses. Only the pipeline has `test`; a Context does not."""

    recipe: Recipe
    root: Path
    folder: Path
    dataset: Dataset
    splits: Splits
    task: Task
    data: Data
    test: Data
    places: tuple[Place, ...]
    timing: Timing
    progress: Progress
    log: TimeLog

    @property
    def device(self) -> Device:
        """The device that decides."""
        return self.places[0].device

    @property
    def setup(self) -> Setup:
        """How files are run there."""
        return self.places[0].setup

    @property
    def stages(self) -> Path:
        """The folder of sealed stages."""
        return self.folder / "stages"

    def context(self, teacher: Artifact | None) -> Context:
        """Return what a step may use."""
        teachers = () if teacher is None else (teacher,)
        return Context(
            task=self.task,
            data=self.data,
            teachers=teachers,
            device=self.device,
            budget=self.recipe.budget,
            seed=self.recipe.seed,
            root=self.root,
            identity=self._identity(teachers),
            progress=self.progress,
        )

    def examiner(self, teacher: Artifact, place: Place | None = None) -> Examiner:
        """Return the one that gathers evidence against `teacher`, at the place that decides."""
        place = place or self.places[0]
        return Examiner(
            task=self.task,
            task_identity=self.task_identity,
            data=self.data,
            device=place.device,
            timing=self.timing,
            setup=place.setup,
            permitted=self.recipe.permitted,
            teacher=teacher,
            folder=self.folder,
            progress=self.progress,
            log=self.log,
            again=not self.recipe.quick,
        )

    @property
    def task_identity(self) -> str:
        """A hash of the task's name and file and of what it measures: the key of evidence."""
        metrics = [[m.name, m.unit, m.better] for m in self.task.metrics]
        return digest(self._task_code(), dict(self.task.signals), metrics)

    def held_out(self, teacher: Artifact) -> Predictions:
        """Return what files predict on the test split, only for the end of the run."""
        return Predictions(
            task=self.task,
            task_identity=self.task_identity,
            data=self.test,
            split="test",
            teacher=teacher,
            folder=self.folder / "predictions",
        )

    def _task_code(self) -> str:
        name = str(self.recipe.task)
        return digest(name, hash_source(name, root=self.root))

    def _identity(self, teachers: tuple[Artifact, ...]) -> Mapping[Need, str]:
        return {
            "task": self._task_code(),
            **{need: self.data.fingerprint(part) for need, part in DATA_NEEDS.items()},
            "teachers": digest([t.knowledge for t in teachers]),
            "device": self.device.fingerprint(self.setup),
            "budget": digest(self.recipe.budget.model_dump(mode="json")),
            "seed": str(self.recipe.seed),
        }


def check_owner(recipe: Recipe, folder: Path) -> None:
    """Refuse a run folder that is another recipe's, or no run folder at all.

    Raises:
        RunFolderError: it belongs to a recipe of another name, or contains other files.
    """
    path = folder / RECORD
    if not path.exists():
        found = [p.name for p in folder.glob("*") if not p.name.startswith(".")]
        others = sorted(set(found) - OWN)
        if others:
            raise RunFolderError(
                f"{folder} is not an edgekd run folder and contains other files ({_few(others)}); "
                f"refusing to write there: give a new folder with {option('out')}"
            )
    else:
        owner = _read_record(path)["name"]
        if owner != recipe.name:
            raise RunFolderError(
                f"{folder} contains a run of the recipe {owner!r}, not of {recipe.name!r}; "
                f"give another folder with {option('out')}"
            )


def claim(bench: Bench, *, command: str) -> None:
    """Make the run folder this recipe's, once all is checked: a refused call leaves nothing."""
    recipe, folder = bench.recipe, bench.folder
    tried = _networks(bench)
    write_json(folder / RECORD, {"name": recipe.name, "command": command, "exports": tried})
    options = recipe.data.split_options(recipe.seed)
    if not recipe.quick:  # whose splits are not whole
        write_splits(folder, bench.splits, options, bench.dataset)
    write_atomic(folder / "recipe.json", recipe.model_dump_json(indent=1) + "\n")
    bench.stages.mkdir(exist_ok=True)


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
    code = [name for name in list_functions(recipe) if ":" in name and name[:7] != "edgekd."]
    if code:
        files = dict.fromkeys(name for name in code if not is_given(name))
        progress.say(f"this recipe runs code: {', '.join(files)}") if files else None
    for step in (recipe.model, *recipe.steps):
        step.content(root)  # its files are there; the data may take minutes to decode
    for name in dict.fromkeys(code):
        resolve(name, root=root)
    for step in (recipe.model, *recipe.steps):
        step.check_early(root)
    task = None if recipe.task is None else open_task(recipe.task, root=root)
    places = tuple(open_place(device) for device in recipe.devices)
    recipe, dataset = _open_data(recipe, task, root=root, progress=progress)
    dataset = _with_classes(recipe, dataset, root=root, progress=progress)
    if dataset.skipped:
        progress.say(
            f"left out {len(dataset.skipped)} samples that cannot be read: {_few(dataset.skipped)}"
        )
    recipe = settle_recipe(recipe, dataset)
    asked = task = task or open_task(str(recipe.task), root=root)
    if recipe.task == REFERENCE:
        task = open_task(REFERENCE, root=root)
    task.check(dataset.targets)
    splits, remark = run_splits(folder, recipe.data.split_options(recipe.seed), dataset)
    splits = splits.few(QUICK_SAMPLES) if recipe.quick else splits
    trained = recipe.model.training is not None and "value" in dataset.targets
    scale = describe_scale(dataset.targets["value"]) if trained else ""
    for words in (remark, describe_missing(dataset, splits), scale):
        if words:
            progress.say(words)
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
    return bench


def _open_data(
    recipe: Recipe, task: Task | None, *, root: Path, progress: Progress
) -> tuple[Recipe, Dataset]:
    """Open the data; images that differ in size are brought to the size that the model takes."""
    wanted, labelled = getattr(task or Classification(), "target", None), wants_labels(recipe)
    opened = partial(open_source, root=root, wanted=wanted, labelled=labelled, progress=progress)
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
    """Refuse what would fail or mean nothing later, before any work is done."""
    recipe, have = bench.recipe, bench.data.count("validation")
    metric = bench.task.metrics[0]
    is_share = metric.is_percentage and metric.values is not None
    counted = is_share and not metric.against_teacher
    needed = count_needed_samples(recipe.budget.max_drop) if counted else 0
    if have < needed and not recipe.quick:
        _few_samples(bench, have, needed)
    tried = _networks(bench)
    untried = tried is not None and tried != _exported_before(bench.folder)
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


def _networks(bench: Bench) -> str | None:
    """Return a hash of all networks and their inputs: what was exported once can be exported again.

    None for a bare ONNX file: there is nothing to export.
    """
    recipe = bench.recipe
    steps = [step for step in (recipe.model, *recipe.steps) if step.makes_network]
    if not recipe.trains:
        return None
    described = [[s.model_dump(mode="json"), dict(s.content(bench.root))] for s in steps]
    return digest(described, recipe.data.model_dump(mode="json"), recipe.export.opset)


def _exported_before(folder: Path) -> str | None:
    path = folder / RECORD
    found: str | None = _read_record(path).get("exports") if path.exists() else None
    return found


def _read_record(path: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        RunFolderError: it is not what a run writes.
    """
    try:
        value = json.loads(path.read_text(encoding="utf8"))
    except ValueError:
        value = None
    if not isinstance(value, dict) or "name" not in value:
        raise RunFolderError(
            f"{path} is damaged or was not written by a run; give another folder with "
            f"{option('out')}"
        )
    return value


def _few(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{rest}"

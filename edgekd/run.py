"""A run is a folder: what is in it, whose it is, and what a run has at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.artifact import Artifact
from edgekd.benchmarks.measurement import Timing
from edgekd.data.dataset import Dataset
from edgekd.data.feed import Data
from edgekd.data.source import open_source
from edgekd.data.splits import Splits, read_splits, write_splits
from edgekd.devices import open_device
from edgekd.devices.device import Device
from edgekd.errors import DataError, RunFolderError
from edgekd.evidence import Examiner
from edgekd.progress import Progress
from edgekd.quality import samples_needed
from edgekd.recipe import Recipe
from edgekd.sketch import sketch
from edgekd.step import Context, Need
from edgekd.store import digest, file_sha256, write_atomic, write_json
from edgekd.task import Task, open_task

RECORD = "run.json"


@dataclass(frozen=True)
class Bench:
    """What a run has at hand. Only the pipeline holds `test`; no Context does."""

    recipe: Recipe
    root: Path
    folder: Path
    dataset: Dataset
    splits: Splits
    task: Task
    data: Data
    test: Data
    device: Device
    timing: Timing
    progress: Progress

    @property
    def stages(self) -> Path:
        """Where sealed stages lie."""
        return self.folder / "stages"

    def context(self, teacher: Artifact | None) -> Context:
        """Return what a step may use."""
        teachers = () if teacher is None else (teacher,)
        return Context(
            self.task,
            self.data,
            teachers,
            self.device,
            self.recipe.budget,
            self.recipe.seed,
            self.root,
            self._identity(teachers),
            self.progress,
        )

    def examiner(self, teacher: Artifact) -> Examiner:
        """Return the one that gathers evidence against `teacher`."""
        return Examiner(
            self.task,
            self.data,
            self.device,
            self.timing,
            self.recipe.permitted,
            teacher,
            self.folder,
            self.progress,
        )

    def _identity(self, teachers: tuple[Artifact, ...]) -> Mapping[Need, str]:
        source = self.root / self.recipe.task.rpartition(":")[0]
        task_file = file_sha256(source) if source.is_file() else ""
        return {
            "task": digest(self.recipe.task, task_file),
            "data": self.data.fingerprint,
            "teachers": digest([t.knowledge for t in teachers]),
            "device": self.device.name,
            "budget": digest(self.recipe.budget.model_dump(mode="json")),
            "seed": str(self.recipe.seed),
        }


def check_owner(recipe: Recipe, folder: Path) -> None:
    """Refuse a run folder that is another recipe's.

    Raises:
        RunFolderError: it belongs to a recipe of another name.
    """
    path = folder / RECORD
    if path.exists():
        owner = json.loads(path.read_text(encoding="utf8"))["name"]
        if owner != recipe.name:
            raise RunFolderError(
                f"{folder} holds a run of the recipe {owner!r}, not of {recipe.name!r}; "
                "give another folder with --out"
            )


def claim(bench: Bench, *, command: str) -> None:
    """Make the run folder this recipe's, once all is checked: a refused call leaves nothing."""
    recipe, folder = bench.recipe, bench.folder
    write_splits(folder / "splits.json", bench.splits, bench.dataset.fingerprint)
    write_json(folder / RECORD, {"name": recipe.name, "command": command})
    write_atomic(folder / "recipe.json", recipe.model_dump_json(indent=1) + "\n")
    bench.stages.mkdir(exist_ok=True)


def set_up(recipe: Recipe, *, root: Path, folder: Path, progress: Progress) -> Bench:
    """Open the data, the task and the device, and check all that can be checked before any work.

    Nothing is written to `folder`.

    Raises:
        DataError: the data cannot serve this recipe, or are not those that the run began with.
        ModelError: a network cannot be built or cannot take the data.
        RecipeError: the task or the device is not known.
    """
    code = _code_of(recipe)
    if code:
        progress.say(f"this recipe runs code: {', '.join(code)}")
    task = open_task(recipe.task, root=root)
    devices = [open_device(name) for name in recipe.devices]
    dataset = open_source(recipe.data, root=root, progress=progress)
    if dataset.skipped:
        progress.say(
            f"left out {len(dataset.skipped)} that cannot be read: {_few(dataset.skipped)}"
        )
    task.check(dataset.targets)
    splits = recipe.data.split(dataset, seed=recipe.seed)
    if (folder / "splits.json").exists():
        read_splits(folder / "splits.json", dataset.fingerprint)
    augment, seed = recipe.data.augment, recipe.seed
    bench = Bench(
        recipe,
        root,
        folder,
        dataset,
        splits,
        task,
        Data(dataset, splits.for_steps(), augment=augment, seed=seed),
        Data(dataset, {"test": splits.test}, augment=augment, seed=seed),
        devices[0],
        recipe.measure.timing(),
        progress,
    )
    check(bench)
    return bench


def check(bench: Bench) -> None:
    """Refuse what would fail or mean nothing later, before any work is done."""
    recipe, have = bench.recipe, bench.data.count("validation")
    metric = bench.task.metrics[0]
    needed = samples_needed(recipe.budget.max_drop) if metric.unit == "%" else 0
    if have < needed:
        raise DataError(
            f"the validation split has {have} samples, too few to tell a loss of "
            f"{recipe.budget.max_drop:g} points from chance: {needed} are needed (a file that "
            "loses nothing and changes 2 % of the answers would go one time in twenty). "
            "Raise validation in [data], or allow more: max_drop in [budget], --max-drop"
        )
    for step in recipe.steps:
        step.ready(bench.data)
    sketch(recipe, bench.context(None))


def _code_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the functions that a recipe calls and that are not edgekd's own."""
    students = [getattr(step, "student", None) for step in recipe.steps]
    named = [recipe.task, recipe.data.call, getattr(recipe.model, "build", None)]
    named += [getattr(student, "build", None) for student in students]
    return tuple(dict.fromkeys(n for n in named if n and ":" in n and n[:7] != "edgekd."))


def _few(names: Sequence[str]) -> str:
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{rest}"

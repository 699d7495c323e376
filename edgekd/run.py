"""A run is a folder: what is in it, whose it is, and what a run has at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekd.artifact import Artifact
from edgekd.benchmarks.measurement import Timing
from edgekd.data.dataset import Dataset
from edgekd.data.feed import Data
from edgekd.data.source import open_source
from edgekd.data.splits import Splits, make_splits, write_splits
from edgekd.devices import open_device
from edgekd.devices.device import Device
from edgekd.errors import DataError, RunFolderError
from edgekd.evidence import Examiner
from edgekd.progress import Progress
from edgekd.quality import samples_needed
from edgekd.recipe import Recipe
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
    """Its 'validation' is the test split."""
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
            "teachers": digest([dict(t.files) for t in teachers]),
            "device": self.device.name,
            "budget": digest(self.recipe.budget.model_dump(mode="json")),
            "seed": str(self.recipe.seed),
        }


def claim(recipe: Recipe, folder: Path, *, command: str) -> None:
    """Make `folder` this recipe's, or refuse. The caller holds its lock.

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
    (folder / "stages").mkdir(exist_ok=True)
    write_json(path, {"name": recipe.name, "command": command})
    write_atomic(folder / "recipe.json", recipe.model_dump_json(indent=1) + "\n")


def set_up(recipe: Recipe, *, root: Path, folder: Path, progress: Progress) -> Bench:
    """Open the data, the task and the device, and check all that can be checked before any work.

    Raises:
        DataError: the data cannot serve this recipe.
        RecipeError: the task or the device is not known.
    """
    task = open_task(recipe.task, root=root)
    dataset = open_source(recipe.data, root=root)
    task.check(dataset.targets)
    splits = make_splits(
        dataset,
        validation=recipe.data.validation,
        test=recipe.data.test,
        calibration=recipe.data.calibration,
        seed=recipe.seed,
    )
    write_splits(folder / "splits.json", splits, dataset.fingerprint)
    augment, seed = recipe.data.augment, recipe.seed
    usable = {
        "train": splits.train,
        "calibration": splits.calibration,
        "validation": splits.validation,
    }
    bench = Bench(
        recipe,
        root,
        folder,
        dataset,
        splits,
        task,
        Data(dataset, usable, augment=augment, seed=seed),
        Data(dataset, {"validation": splits.test}, augment=augment, seed=seed),
        open_device(recipe.devices[0]),
        recipe.measure.timing(),
        progress,
    )
    check(bench)
    return bench


def check(bench: Bench) -> None:
    """Refuse what would fail or mean nothing later: too few samples for the budget, for calibration."""
    recipe, have = bench.recipe, bench.data.count("validation")
    metric = bench.task.metrics[0]
    needed = samples_needed(recipe.budget.max_drop) if metric.unit == "%" else 0
    if have < needed:
        raise DataError(
            f"the validation split has {have} samples, too few to tell a loss of "
            f"{recipe.budget.max_drop:g} points from chance: {needed} are needed (a file that loses "
            "nothing and changes 2 % of the answers would be rolled back one time in twenty). "
            "Raise validation in [data], or allow more with max_drop in [budget]"
        )
    for step in recipe.steps:
        step.ready(bench.data)

"""What a run uses: recipe, data, splits, task, devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from edgekd.artifact import Artifact
from edgekd.benchmarks.measurement import Setup, Timing
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.splits import Splits
from edgekd.devices.device import Device, Place
from edgekd.evaluation.examiner import Examiner
from edgekd.evaluation.predictions import Predictions
from edgekd.evaluation.quality_gate import QualityGate
from edgekd.evaluation.spent_time import TimeLog
from edgekd.pipeline.live_curves import LiveCurves
from edgekd.progress import Progress
from edgekd.recipe.recipe import Recipe
from edgekd.step import DATA_NEEDS, Context, Need
from edgekd.store import digest
from edgekd.tasks.task import Task
from edgekd.user_code import hash_source


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
    live: LiveCurves | None = None
    """What shows trainings while they go on; only in a run."""

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
            **({} if self.live is None else {"watch": self.live}),
            quality=None if teacher is None else self._quality(teacher),
        )

    def _quality(self, teacher: Artifact) -> QualityGate:
        predictions = replace(
            self.held_out(teacher), data=self.data, split="validation"
        )  # those of the examiner
        return QualityGate(predictions, self.recipe.budget)

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
            "quality": digest(
                self.task_identity,
                self.data.fingerprint("validation"),
                [dict(t.files) for t in teachers],
                self.recipe.budget.model_dump(mode="json", exclude={"max_latency"}),
            ),
            "seed": str(self.recipe.seed),
        }

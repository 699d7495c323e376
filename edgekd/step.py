"""A Step is a line of a recipe, judged as a whole; a Context is all that it may use."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from edgekd.artifact import SEAL, WORK, Artifact, open_artifact, seal_artifact
from edgekd.options import Budget, Options, Training
from edgekd.progress import Progress, Silent
from edgekd.store import digest

if TYPE_CHECKING:
    from edgekd.data.batches import Data, Part
    from edgekd.devices.device import Device
    from edgekd.networks.trainable import Model
    from edgekd.tasks.task import Task

Need = Literal[
    "task",
    "training data",
    "calibration data",
    "validation data",
    "teachers",
    "device",
    "budget",
    "seed",
]
DATA_NEEDS: Mapping[Need, Part] = {
    "training data": "training",
    "calibration data": "calibration",
    "validation data": "validation",
}
Form = Literal["torch", "onnx"]


@dataclass(frozen=True)
class Context:
    """All that a step may use besides its source. It holds no test split."""

    task: Task
    data: Data
    teachers: tuple[Artifact, ...]
    device: Device
    budget: Budget
    seed: int
    root: Path
    """Where the user's own files are looked for: the recipe's folder."""
    identity: Mapping[Need, str]
    """Content hash of each part above; the data has three."""
    progress: Progress = field(default_factory=Silent)

    def only(self, needs: frozenset[Need]) -> Context:
        """Return it with the rest withheld: reading what was not declared fails at once."""
        known = {*needs, "root", "identity", "progress"}
        withheld: dict[str, Any] = {f.name: None for f in fields(self) if f.name not in known}
        parts = {part for need, part in DATA_NEEDS.items() if need in needs}
        if parts:
            withheld["data"] = self.data.only(parts)
        return replace(self, **withheld)


class Step(Options):
    """A line of a recipe. Its fields are its options; what pays only together is one step."""

    takes: ClassVar[Form] = "torch"
    gives: ClassVar[Form] = "torch"
    needs: ClassVar[frozenset[Need]] = frozenset()
    makes: ClassVar[str] = "fp32"
    """The variant that its quality is judged on."""
    promise: ClassVar[Literal["faster", "smaller", "better"]] = "faster"
    revision: ClassVar[int] = 1
    """Raised when equal options give another result."""

    name: str
    gate: bool = Field(
        True,
        exclude=True,
        examples=[True],
        description="false keeps the stage whatever was measured",
    )

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        """Write an Artifact's files to `folder`; go on from what a killed try left in `work/`."""
        raise NotImplementedError

    def content(self, root: Path) -> Mapping[str, str]:
        """Return the hashes of the user's files that the options name."""
        return {}

    def environment(self) -> Mapping[str, str]:
        """Return what of this machine changes the result: versions, processor, threads."""
        return {}

    def scaled(self, effort: float) -> Step:
        """Return the step with its trainings shortened to `effort`."""
        return self

    @property
    def training(self) -> Training | None:
        """The training among its options, if it trains."""
        return next((value for _, value in self if isinstance(value, Training)), None)

    def ready(self, data: Data) -> None:
        """Raise DataError, before any work, if `data` cannot serve this step."""

    def network(self, source: Model, teacher: Model, context: Context) -> Model:
        """Return the network that this step will train, as it is before training.

        All that can be wrong with it is found before any work: every step's is made at the start.
        """
        return source

    def key(self, source: Artifact, context: Context) -> str:
        """Equal keys, equal results. ONNX files do not count for a step that takes torch."""
        used = dict(source.files) if self.takes == "onnx" else source.knowledge
        needs = {need: context.identity[need] for need in sorted(self.needs)}
        options = self.model_dump(mode="json")
        files, environment = dict(self.content(context.root)), dict(self.environment())
        return digest(options, self.revision, used, needs, files, environment)


def run_step(step: Step, source: Artifact, context: Context, stages: Path) -> Artifact:
    """Return the result of `step`, from disk if it is there. The rename commits."""
    key = step.key(source, context)
    done = stages / f"{step.name}-{key[:12]}"
    if done.exists():
        return open_artifact(done)
    entry = {**step.model_dump(mode="json"), "key": key, "environment": dict(step.environment())}
    changed = _changed_environment(entry, stages)
    if changed:
        context.progress.say(f"{step.name} is made again, because this differs: {changed}")
    partial = done.with_name(done.name + ".partial")
    (partial / WORK).mkdir(parents=True, exist_ok=True)
    if (source.folder / "preprocess.json").exists():  # a new network brings its own
        shutil.copyfile(source.folder / "preprocess.json", partial / "preprocess.json")
    try:
        step.apply(source, context.only(step.needs), partial)
    except BaseException:
        if not any((partial / WORK).iterdir()):  # no checkpoint: there is nothing to go on from
            shutil.rmtree(partial)
        raise
    return seal_artifact(partial, done, (*source.history, entry))


def _changed_environment(entry: Mapping[str, Any], stages: Path) -> str:
    """Return how this machine differs from the one that made a stage of equal options; or ""."""
    own = {"key", "environment"}
    now: Mapping[str, str] = entry["environment"]
    for stage in sorted(stages.glob(f"{entry['name']}-*")):
        if not (stage / SEAL).is_file():
            continue
        *_, old = json.loads((stage / SEAL).read_text(encoding="utf8"))["history"]
        then: Mapping[str, str] = old["environment"]
        if then != now and all(old.get(name) == entry[name] for name in entry if name not in own):
            names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
            return ", ".join(f"{n} {then.get(n, 'none')} -> {now.get(n, 'none')}" for n in names)
    return ""

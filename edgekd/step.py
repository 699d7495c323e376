"""A Step is a line of a recipe; a Context is all that a step may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field

from edgekd.artifact import FP32, WORK, Artifact, Variant
from edgekd.errors import NothingToDo
from edgekd.options import Budget, Options, Training
from edgekd.progress import Progress, Silent
from edgekd.store import digest, replacing

if TYPE_CHECKING:
    from edgekd.data.batches import Data, Part
    from edgekd.data.preprocess import Preprocess
    from edgekd.devices.device import Device
    from edgekd.evaluation.quality_gate import QualityGate
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
    "quality",
    "seed",
]
DATA_NEEDS: Mapping[Need, Part] = {
    "training data": "training",
    "calibration data": "calibration",
    "validation data": "validation",
}
Preview: TypeAlias = "Model | OnnxModel | None"
"""The forecast output of a step; None: the same network as before it."""
BUILT = "built"
"""Below `work/`: a network as it was before its training."""


def _ignore(title: str, curves: Mapping[str, Sequence[float | None]]) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Context:
    """All that a step may use besides its source. It does not contain the test split."""

    task: Task
    data: Data
    teachers: tuple[Artifact, ...]
    device: Device
    budget: Budget
    seed: int
    root: Path
    """The folder of the user's files: that of the recipe."""
    identity: Mapping[Need, str]
    """Content hash of each part above; the data has three."""
    progress: Progress = field(default_factory=Silent)
    watch: Callable[[str, Mapping[str, Sequence[float | None]]], None] = _ignore
    """Called after every epoch of a training with its title and its curves by name."""
    quality: QualityGate | None = None
    """What the budget allows, for the need "quality"; None before there is a teacher."""

    def only(self, needs: frozenset[Need]) -> Context:
        """Return it with the rest withheld: reading what was not declared fails at once."""
        known = {*needs, "root", "identity", "progress", "watch"}
        withheld: dict[str, Any] = {f.name: None for f in fields(self) if f.name not in known}
        parts = {part for need, part in DATA_NEEDS.items() if need in needs}
        if parts:
            withheld["data"] = self.data.only(parts)
        return replace(self, **withheld)


@dataclass(frozen=True)
class OnnxModel:
    """An ONNX file and its inputs: what a step without a network can show in advance."""

    path: Path
    preprocess: Preprocess


Opened = Callable[[], "Model"]
"""Opens a network when it is called; a step opens only what it needs."""


class Step(Options):
    """A line of a recipe. Its fields are its options; what pays only together is one step."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    promise: ClassVar[Literal["faster", "smaller", "better"]] = "faster"
    revision: ClassVar[int] = 1
    """Raised when equal options give another result."""
    network_name: ClassVar[str] = "network"
    """The name of its network or file in errors."""
    makes_network: ClassVar[bool] = False
    """Whether its result can be trained further, and is exported to ONNX before it is judged."""

    name: str
    gate: bool = Field(
        True,
        exclude=True,
        examples=[True],
        description="false: keep the stage even if it does not pay",
    )

    @property
    def needed(self) -> frozenset[Need]:
        """What it needs as its options are: a training that may stop early needs validation."""
        watched = self.training is not None and self.training.patience is not None
        return self.needs | {"validation data"} if watched else self.needs

    @property
    def other_device(self) -> str:
        """A device that is not one of the recipe's and that its variants are kept for; or ""."""
        return ""

    def promise_of(self, variant: Variant) -> Literal["faster", "smaller", "better"]:
        """Return what one of `makes` promises."""
        return self.promise

    @property
    def makes(self) -> tuple[Variant, ...]:
        """The variants that its quality is judged on."""
        return (FP32,)

    @property
    def previews(self) -> tuple[Variant, ...]:
        """The variants that `write_previews` can make at once of any FP32 file."""
        return ()

    @property
    def training(self) -> Training | None:
        """The training among its options, if it trains."""
        return next((value for _, value in self if isinstance(value, Training)), None)

    @property
    def calibration_samples(self) -> int:
        """The number of calibration samples that it reads."""
        return 0

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        """Write an Artifact's files to `folder`; resume from what a killed try left in `work/`.

        Raises:
            NothingToDo: it can change nothing in `source`; the stage is skipped.
        """
        raise NotImplementedError

    def preview(self, source: Opened, teacher: Opened, context: Context) -> Preview:
        """Check cheaply, before any work, what can be checked; return what the step would give.

        Args:
            source: opens the network that it would start from, untrained.
            teacher: opens the teacher's, untrained.
            context: with what is in `needed`.

        Raises:
            NothingToDo: it can change nothing in `source`.
            NotKnownYet: what it gives is known only when it runs.
            BadInput: it would fail.
        """
        return None

    def write_previews(self, fp32: Path, folder: Path, preprocess: Preprocess, data: Data) -> None:
        """Write `preview.<variant>.onnx` for each of `previews` to `folder`."""
        raise NotImplementedError

    def check_order(self, before: Sequence[Step]) -> str | None:
        """Return why it cannot come after `before`, the model first; None where it can."""
        return None

    def content(self, root: Path) -> Mapping[str, str]:
        """Return the hashes of the user's files that the options name."""
        return {}

    def check_early(self, root: Path) -> None:
        """Check what needs no data, before data is decoded: networks are built, weights loaded.

        Raises:
            ModelError: a network cannot be built, or its weights do not fit.
        """

    def environment(self, source: Artifact, context: Context) -> Mapping[str, str]:
        """Return what of this machine changes the result: versions, processor, threads."""
        return {}

    def scaled(self, effort: float) -> Step:
        """Return the step with its trainings shortened to `effort`."""
        return self

    def without_labels(self) -> Self:
        """Return the step as it works where the data has no labels.

        Raises:
            RecipeError: it cannot.
        """
        return self

    def shorten(self, samples: int) -> Step:
        """Return the shortest form of the step, with at most `samples` calibration samples."""
        return self.scaled(1e-9)  # one epoch

    def select_files(self, source: Artifact) -> Mapping[str, str]:
        """Return the files of `source` that its result depends on."""
        return source.files

    def key(self, source: Artifact, context: Context) -> str:
        """Equal keys, equal results."""
        needs = {need: context.identity[need] for need in sorted(self.needed)}
        options = self.model_dump(mode="json")
        used, content = dict(self.select_files(source)), dict(self.content(context.root))
        environment = dict(self.environment(source, context))
        return digest(options, self.revision, used, needs, content, environment)


class TorchStep(Step):
    """A step that makes a network and trains it.

    The network is built once, stored in `work/`, and read back from there whether the training
    begins or resumes: an interrupted run trains the same network that it began with.
    """

    makes_network: ClassVar[bool] = True

    def build_model(self, source: Opened, teacher: Opened, context: Context) -> Model:
        """Return the network as it is before training: newly built, or `source` with an edit.

        Raises:
            NothingToDo: there is nothing to edit.
        """
        raise NotImplementedError

    def train_model(self, model: Model, source: Artifact, context: Context, work: Path) -> None:
        """Train `model.body` in place, with checkpoints in `work`."""

    def preview(self, source: Opened, teacher: Opened, context: Context) -> Preview:
        return self.build_model(source, teacher, context)

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        model = self._built(source, context, folder / WORK / BUILT)
        self.train_model(model, source, context, folder / WORK)
        model.save(folder)

    def _built(self, source: Artifact, context: Context, built: Path) -> Model:
        import torch

        from edgekd.networks.trainable import open_model

        def opened(artifact: Artifact) -> Model:
            if not artifact.trainable:
                raise NothingToDo("it needs a network, and there is only an ONNX file")
            return open_model(artifact.folder, root=context.root)

        if not built.exists():
            torch.manual_seed(context.seed)
            model = self.build_model(
                lambda: opened(source), lambda: opened(context.teachers[0]), context
            )
            with replacing(built) as partial:
                model.save(partial)
        torch.manual_seed(context.seed)  # for what a builder draws and does not save
        return open_model(built, root=context.root)

    def select_files(self, source: Artifact) -> Mapping[str, str]:
        return source.knowledge  # a new opset changes only the ONNX files

    @property
    def starts_without_network(self) -> bool:
        """Whether it needs no network before it: it builds its own, and learns from predictions."""
        return False

    def check_order(self, before: Sequence[Step]) -> str | None:
        model, *steps = before
        i = next((i for i, step in enumerate(steps) if not step.makes_network), None)
        if i is not None:
            maker = f"steps[{i}] ({steps[i].name}) gives an ONNX file"
            return f"trains a network, but {maker}; move it before that step, or remove it"
        if steps or model.makes_network or self.starts_without_network:
            return None
        return (
            "starts from a network, but [model] is a bare ONNX file; leave it out, or let a "
            "student with build = '...' learn from the file first (distill)"
        )


class OnnxStep(Step):
    """A step that writes ONNX files from files; it needs no network."""

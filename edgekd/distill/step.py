"""The step `distill`: a small student learns from the teacher."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgekd.artifact import Artifact
from edgekd.data.input_options import InputSpec
from edgekd.distill.fewer_layers import Kept, shortened
from edgekd.distill.loss_options import LearnsFromTeacher
from edgekd.distill.losses import SoftTargets
from edgekd.errors import NothingToDo
from edgekd.networks.spec import NetworkSpec, list_user_files
from edgekd.options import Options, Training, UserFunction
from edgekd.step import Context, Need, Opened, Preview, TorchStep
from edgekd.teacher.onnx_file import OnnxFile
from edgekd.wording import option

if TYPE_CHECKING:
    from edgekd.networks.trainable import Model
    from edgekd.training.signals import Wanted
    from edgekd.training.teacher_outputs import TeacherOutputs

GLANCE = 32
"""Training samples that a student is cut by before the run, when the teacher may be untrained."""


class Student(Options):
    """The network to train: built by a function, or cut from the teacher with its weights."""

    build: UserFunction | None = Field(
        None, description="function that builds the network, as in [model]; or use `from`"
    )
    options: dict[str, object] = Field(
        {}, examples=[{"classes": 10}], description="keyword arguments of that function"
    )
    weights: str | None = Field(
        None, examples=["student.pt"], description="file of weights to start from, as in [model]"
    )
    replace_head: bool = Field(
        False,
        description="the last layer may differ in shape from the "
        "weights; it is then initialised anew",
    )
    source: Literal["teacher"] | None = Field(
        None,
        alias="from",
        description="'teacher': start from the teacher, with those of its channels that its "
        "answers need most, or with some of its transformer blocks (`layers`)",
    )
    macs: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="share of the teacher's multiplications that the student has; with `from` only",
    )
    layers: Kept | None = Field(
        None,
        examples=[3],
        description="instead of `macs`: how many of the teacher's transformer blocks stay, evenly "
        "spaced, 'half' of them, or which, as a list of numbers from 0; with `from` only",
    )
    input: InputSpec = Field(
        InputSpec(),
        examples=[{"size": 96}],
        description="model input, where it differs from the dataset",
    )

    @field_validator("layers")
    @classmethod
    def _some_layers(cls, value: Kept | None) -> Kept | None:
        if isinstance(value, tuple) and (
            not value or min(value) < 0 or list(value) != sorted(set(value))
        ):
            raise ValueError("give different numbers from 0, in order, such as [0, 2, 5]")
        if isinstance(value, int) and value < 1:
            raise ValueError("a student keeps at least one layer")
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.build is None) == (self.source is None):
            raise ValueError("a student has either build = '...' or from = 'teacher'")
        if self.layers is not None and (self.source is None or "macs" in self.model_fields_set):
            raise ValueError(
                "layers goes with from = 'teacher', in place of macs: such a student has all "
                "channels of some of the teacher's blocks"
            )
        fields = type(self).model_fields
        for name in ("options", "weights", "replace_head", "input"):
            if self.source is not None and getattr(self, name) != fields[name].default:
                raise ValueError(
                    f"{name} goes with build; a student cut from the teacher has the teacher's"
                )
        return self

    @property
    def spec(self) -> NetworkSpec | None:
        """How to build it, or None if it is cut from the teacher."""
        if self.build is None:
            return None
        return NetworkSpec(
            build=self.build,
            options=self.options,
            weights=self.weights,
            replace_head=self.replace_head,
        )


class AnotherTeacher(OnnxFile):
    """A further teacher: an ONNX file."""

    weight: float = Field(
        1.0,
        gt=0,
        description="weight in the mean of all teachers; the model of the run has weight 1",
    )


class Distill(LearnsFromTeacher, TorchStep):
    """Train a small student on the outputs of the teacher and on the labels."""

    needs: ClassVar[frozenset[Need]] = frozenset({"task", "training data", "teachers", "seed"})
    network_name: ClassVar[str] = "student"
    name: Literal["distill"] = "distill"
    student: Student = Field(description="the network to train")
    train: Training = Field(Training(), description="options of the training")
    more_teachers: tuple[AnotherTeacher, ...] = Field(
        (), description="further teachers; the student learns the weighted mean of all outputs"
    )

    @model_validator(mode="after")
    def _no_layers_of_several(self) -> Self:
        inner = [term.kind for term in self.active if term.teacher_wanted.inner]
        if self.more_teachers and inner:
            raise ValueError(
                f"several teachers have no common layers, which {inner[0]!r} compares; leave out "
                "more_teachers, or the terms that compare layers"
            )
        return self

    @property
    def starts_without_network(self) -> bool:
        return self.student.build is not None

    def _more_files(self, root: Path) -> dict[str, str]:
        return {
            f"teacher {i}, {name}": sha256
            for i, teacher in enumerate(self.more_teachers, 2)
            for name, sha256 in teacher.hashes(root).items()
        }

    def identify_more_teachers(self, root: Path) -> object:
        options = [teacher.model_dump(mode="json") for teacher in self.more_teachers]
        return [options, self._more_files(root)]

    def content(self, root: Path) -> Mapping[str, str]:
        found = self._more_files(root)
        if self.student.spec is not None:
            found |= {
                **list_user_files(self.student.spec, root),
                **self.student.input.content(root),
            }
        return found

    def check_early(self, root: Path) -> None:
        if self.student.spec is not None:
            from edgekd.networks.trainable import build_early

            build_early(self.student.spec, root=root)

    def environment(self, source: Artifact, context: Context) -> Mapping[str, str]:
        found = self.describe_environment(context.teachers[0], self.train.precision)
        if self.active and self.more_teachers:
            from edgekd.training.teacher_file import describe_engine

            found = {**found, **describe_engine(self.train.precision)}
        return found

    def scaled(self, effort: float) -> Self:
        return self.model_copy(update={"train": self.train.scaled(effort)})

    def preview(self, source: Opened, teacher: Opened, context: Context) -> Preview:
        return self._build(teacher, context, samples=GLANCE)

    def build_model(self, source: Opened, teacher: Opened, context: Context) -> Model:
        return self._build(teacher, context, samples=None)

    def _build(self, teacher: Opened, context: Context, *, samples: int | None) -> Model:
        self.check_terms(context.task.signals)
        whole: Model | None
        try:  # also for a fresh student, whose random weights are drawn after the teacher's
            whole = teacher()
        except NothingToDo:  # a bare ONNX file: a student that is built can learn from it
            if not self.starts_without_network:
                raise
            whole = None
        student = self._student(whole, context, samples=samples)
        for another in self.more_teachers:
            another.look(context)
        return self.checked(student, whole, context)

    def _student(self, teacher: Model | None, context: Context, *, samples: int | None) -> Model:
        from edgekd.networks.derive import POWERS, ROUNDS, SAMPLES, Probe, derived
        from edgekd.networks.trainable import create_model

        if self.student.spec is not None:
            preprocess = context.data.choose_preprocess(self.student.input, root=context.root)
            fresh: Model = create_model(
                self.student.spec,
                preprocess,
                root=context.root,
                data=context.data,
                given=self.student.input,
            )
            return fresh
        assert teacher is not None  # `check_order` requires it
        if self.student.layers is not None:
            return shortened(teacher, self.student.layers)
        soft = (term.temperature for term in self.active if isinstance(term, SoftTargets))
        probe = Probe(
            context.data,
            context.task,
            temperature=next(soft, SoftTargets().temperature),
            seed=context.seed,
            samples=SAMPLES if samples is None else samples,
        )
        own = option("distill.student.build", "net.py:build")
        way_out = f"give a student of your own ({own})"
        rounds, powers = (ROUNDS, POWERS) if samples is None else (1, POWERS[:1])
        return derived(
            teacher,
            probe,
            macs=self.student.macs,
            rounds=rounds,
            powers=powers,
            way_out=way_out,
        )

    def open_guide(
        self, teacher: Artifact, context: Context, precision: str, wanted: Wanted, *, work: Path
    ) -> TeacherOutputs:
        from edgekd.training.teacher_file import FileOutputs
        from edgekd.training.teacher_outputs import MeanOutputs

        guides = [super().open_guide(teacher, context, precision, wanted, work=work)]
        for i, another in enumerate(self.more_teachers, 2):
            model, name = another.look(context), f"teacher {i}"
            own = FileOutputs(model.path, model.preprocess, context.task, precision, name=name)
            guides.append(own)
        weights = [1.0, *(another.weight for another in self.more_teachers)]
        return MeanOutputs(guides, weights) if self.more_teachers else guides[0]

    def train_model(self, model: Model, source: Artifact, context: Context, work: Path) -> None:
        self.teach(model, context.teachers[0], context, self.train, work=work, title=self.name)

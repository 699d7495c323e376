"""The loss options of every step that learns from a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from edgekd.distill.losses import AnyTerm, SoftTargets
from edgekd.errors import RecipeError
from edgekd.options import Cache, Options, Training
from edgekd.training.signals import SCALED, Wanted, joined

if TYPE_CHECKING:
    from edgekd.artifact import Artifact
    from edgekd.networks.trainable import Model
    from edgekd.step import Context
    from edgekd.tasks.task import SignalKind
    from edgekd.training.teacher_cache import CacheRequest
    from edgekd.training.teacher_outputs import TeacherOutputs
    from edgekd.training.terms import Term


class LearnsFromTeacher(Options):
    """The loss of a step whose network learns from a teacher: labels, and terms in any number.

    The teacher does not run where no term has a weight.
    """

    hard_weight: float = Field(
        0.1,
        ge=0,
        le=1e6,
        examples=[0.1],
        description="weight of the task's own loss; 0 ignores the labels",
    )
    terms: tuple[AnyTerm, ...] = Field(
        (SoftTargets(),),
        examples=[[SoftTargets().model_dump(exclude_none=True)]],
        description="losses against the teacher, summed with their weights",
    )

    teacher_temperature: float = Field(
        1.0,
        gt=0,
        le=100,
        examples=[1.0],
        description="the teacher's class or label scores are divided by it before any loss; "
        "`edgekd audit` fits it on the validation split",
    )
    distrust_labels: float | None = Field(
        None,
        gt=0,
        lt=1,
        examples=[0.95],
        description="labels do not count that the teacher contradicts with at least this "
        "probability of its own answer; default: all labels count",
    )

    cache: Cache | None = Field(
        None,
        examples=[{"views": 4, "max_bytes": "2 GB"}],
        description="compute the teacher's outputs for some views of each sample once, store and "
        "replay them; default: the teacher runs in every step",
    )

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if not self.hard_weight and not self.active:
            raise ValueError("hard_weight and the weights of all terms are 0: nothing is learned")
        return self

    @model_validator(mode="after")
    def _labels_to_distrust(self) -> Self:
        if self.distrust_labels is None:
            return self
        if not self.hard_weight:
            raise ValueError("distrust_labels leaves labels out, and hard_weight = 0 all of them")
        if not any(term.teacher_wanted.outputs for term in self.active):
            raise ValueError(
                "distrust_labels asks the teacher, and no term with a weight reads its outputs"
            )
        return self

    @model_validator(mode="after")
    def _enough_samples(self) -> Self:
        training = next((value for _, value in self if isinstance(value, Training)), Training())
        for term in self.active:
            if training.batch_size < term.least_batch:
                raise ValueError(
                    f"the loss term {term.kind!r} compares samples of a batch with each other and "
                    f"needs {term.least_batch} of them; batch_size is {training.batch_size}"
                )
        return self

    def without_labels(self) -> Self:
        if not self.active or ("hard_weight" in self.model_fields_set and self.hard_weight):
            raise RecipeError(
                "hard_weight is the weight of the loss on labels, but the data has none; remove "
                "it, and use terms to learn from the teacher"
            )
        if self.distrust_labels is not None:
            raise RecipeError("distrust_labels leaves out labels, but the data has none; remove it")
        return self.model_copy(update={"hard_weight": 0.0})

    @property
    def active(self) -> tuple[AnyTerm, ...]:
        """The terms that have a weight."""
        return tuple(term for term in self.terms if term.weight)

    def check_terms(self, signals: Mapping[str, SignalKind]) -> None:
        """Refuse a task with an output that a term cannot compare.

        Raises:
            RecipeError: see `Term.check`; or what is set for scores has none to act on.
        """
        for term in self.terms:
            term.check(signals)
        kinds = sorted(set(signals.values()))
        if self.teacher_temperature != 1 and not set(kinds) & SCALED:
            raise RecipeError(
                f"teacher_temperature divides class or label scores, and the outputs are of kind "
                f"{', '.join(kinds)}; leave it out"
            )
        if self.distrust_labels is not None and list(signals.values()) != ["classes"]:
            raise RecipeError(
                "distrust_labels needs one output of class scores and one label for each sample; "
                f"the outputs are of kind {', '.join(kinds)}; leave it out"
            )

    def checked(self, student: Model, teacher: Model | None, context: Context) -> Model:
        """Return the student with notes on the layers that terms found; see `term_layers`.

        Raises:
            ModelError: layers or outputs are not there, or do not fit.
        """
        from edgekd.training.term_layers import check_layers, describe_layers, resolve_layers

        terms = resolve_layers(self.active, student, teacher, context)
        check_layers(student, teacher, context, terms)
        found = describe_layers(self.active, terms)
        return replace(student, notes=(*student.notes, *found)) if found else student

    @property
    def wanted(self) -> Wanted:
        """The signals that the terms need from the teacher; none if no term has a weight."""
        return joined(term.teacher_wanted for term in self.active)

    def describe_environment(self, teacher: Artifact, precision: str) -> dict[str, str]:
        """Return what of this machine changes a training with this loss and this teacher."""
        from edgekd.training.environment import describe_environment
        from edgekd.training.teacher_file import describe_engine
        from edgekd.training.teacher_outputs import answers_by_file

        found = self.wanted.found  # perhaps none are needed, and the file answers
        by_file = self.wanted.anything and (found or answers_by_file(teacher, self.wanted))
        engine = describe_engine(precision) if by_file else {}
        return {**describe_environment(precision), **engine}

    def open_guide(
        self, teacher: Artifact, context: Context, precision: str, wanted: Wanted, *, work: Path
    ) -> TeacherOutputs:
        """Return what gives the signals of the teacher that the terms want."""
        from edgekd.training.teacher_outputs import open_teacher

        return open_teacher(teacher, context, precision, wanted, work=work)

    def _resolved(
        self, student: Model, teacher: Artifact, context: Context, work: Path
    ) -> tuple[Term, ...]:
        """Return the terms with layers; what was found is noted for the report."""
        from edgekd.networks.trainable import open_model
        from edgekd.training.losses import add_notes
        from edgekd.training.term_layers import describe_layers, resolve_layers

        terms: tuple[Term, ...] = self.active
        if not self.wanted.found:
            return terms
        its = open_model(teacher.folder, root=context.root) if teacher.trainable else None
        terms = resolve_layers(terms, student, its, context)
        work.mkdir(parents=True, exist_ok=True)
        add_notes(work, describe_layers(self.active, terms))
        return terms

    def teach(
        self,
        student: Model,
        teacher: Artifact,
        context: Context,
        training: Training,
        *,
        work: Path,
        title: str,
    ) -> None:
        """Train `student.body` in place with this loss; see `transfer`."""
        from edgekd.training.transfer import Lesson, transfer

        terms, guide = self._resolved(student, teacher, context, work), None
        if terms:
            wanted = joined(term.teacher_wanted for term in terms)
            guide = self.open_guide(teacher, context, training.precision, wanted, work=work)
        request = self._cache_request(teacher, context, training.precision) if terms else None
        lesson = Lesson(
            self.hard_weight,
            terms,
            guide,
            request,
            teacher_temperature=self.teacher_temperature,
            distrust_labels=self.distrust_labels,
        )
        transfer(student, lesson, context, training, work=work, title=title)

    def identify_more_teachers(self, root: Path) -> object:
        """Return what of further teachers their signals depend on, as JSON."""
        return None

    def _cache_request(
        self, teacher: Artifact, context: Context, precision: str
    ) -> CacheRequest | None:
        from edgekd.store import digest, file_sha256
        from edgekd.training.environment import describe_environment
        from edgekd.training.teacher_cache import CacheRequest
        from edgekd.training.teacher_file import describe_engine

        if self.cache is None:
            return None
        previews = ("preview.", "model.int")  # of what ships; they teach nobody
        files = sorted(name for name in teacher.files if not name.startswith(previews))
        identity = digest(
            {name: file_sha256(teacher.folder / name) for name in files},
            self.identify_more_teachers(context.root),
            describe_environment(precision),
            describe_engine(precision),
        )
        return CacheRequest(self.cache, identity)

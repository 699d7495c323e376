"""The base of a loss term: a weight, a schedule, and the signals that it compares.

The members of the union that a recipe may name are in `edgekd/distill/losses/__init__.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from edgekd.errors import ModelError, RecipeError
from edgekd.options import Options
from edgekd.training.signals import NOTHING, Signals, Wanted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgekd.tasks.task import SignalKind
    from edgekd.training.layer_finder import FoundLayers


class Schedule(Options):
    """A factor that changes the weight of a loss during training."""

    kind: Literal["linear", "cosine"] = Field(
        "linear", description="linear, or half a cosine, which is slow at both ends"
    )
    start: float = Field(
        1.0,
        ge=0,
        alias="from",
        description="factor of the weight at the first step of the training",
    )
    to: float = Field(1.0, ge=0, description="factor of the weight at the last step")

    def factor(self, done: float) -> float:
        """Return the factor where the share `done` (0 to 1) of the training is over."""
        share = done if self.kind == "linear" else (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.to - self.start) * share


@dataclass(frozen=True)
class Compared:
    """What a term compares: the signals of both networks for the same views of a batch."""

    student: Signals
    teacher: Signals
    kinds: Mapping[str, SignalKind]
    """Of the outputs, by name."""
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    """The labels; empty where they are not used, or no term wants them."""
    extra: nn.Module | None = None
    """What `Term.extra` made, in training."""
    tokens: Tensor | None = None
    """Of the student's texts, [batch, length]: 0 for padding."""
    teacher_tokens: Tensor | None = None
    """Of the teacher's."""


class Term(Options):
    """A part of a loss: a pure function of the student's and the teacher's signals."""

    kinds: ClassVar[frozenset[SignalKind]] = frozenset()
    """The kinds of outputs that it can compare; outputs of all other kinds are refused."""
    wants_labels: ClassVar[bool] = False
    """Whether it uses labels where there are any."""
    least_batch: ClassVar[int] = 1
    """The samples that it needs in a batch: more than one if it compares samples."""
    by_position: ClassVar[bool] = False
    """Whether it compares layers token by token: both networks must have the same tokens."""

    kind: str
    weight: float = Field(1.0, ge=0, le=1e6, description="weight in the sum of all losses")
    schedule: Schedule | None = Field(
        None, description="how the weight changes during training; default: it is constant"
    )

    def weight_at(self, done: float) -> float:
        """Return the weight where the share `done` (0 to 1) of the training is over."""
        return self.weight if self.schedule is None else self.weight * self.schedule.factor(done)

    def check(self, signals: Mapping[str, SignalKind]) -> None:
        """Refuse a task that has an output this term cannot compare.

        Raises:
            RecipeError: one of the outputs is of a kind that is not in `kinds`.
        """
        if not self.teacher_wanted.outputs:
            return
        for name, kind in signals.items():
            if kind not in self.kinds:
                raise RecipeError(
                    f"the loss term {self.kind!r} cannot compare the output {name!r} of kind "
                    f"{kind!r}; it can compare {', '.join(sorted(self.kinds))}"
                )

    @property
    def student_wanted(self) -> Wanted:
        """The student's signals that it needs besides the outputs, which are always there."""
        return NOTHING

    @property
    def teacher_wanted(self) -> Wanted:
        """The teacher's signals that it needs."""
        return Wanted()

    def with_layers(
        self,
        student: FoundLayers,
        teacher: FoundLayers | None,
        kinds: Mapping[str, SignalKind],
    ) -> Self:
        """Return the term with layers that it finds by itself; None: the teacher is a file.

        Raises:
            ModelError: it found none.
        """
        return self

    def describe(self) -> str:
        """Return a line on the layers that it compares."""
        return self.kind

    def extra(self, student: Signals, teacher: Signals) -> nn.Module | None:
        """Return a module that is trained along and does not ship, for signals of these shapes."""
        return None

    def check_shapes(
        self, student: Signals, teacher: Signals, kinds: Mapping[str, SignalKind]
    ) -> None:
        """Refuse outputs that it cannot compare, before any work; signals of the same samples.

        Raises:
            ModelError: student and teacher give unlike numbers of classes, labels or values.
        """
        if not self.teacher_wanted.outputs:
            return
        for name, kind in kinds.items():
            own, its = student.outputs[name].shape, teacher.outputs[name].shape
            maps = kind == "class map" and len(own) == len(its) == 4
            if own[1:2] != its[1:2] if maps else own[1:] != its[1:]:
                raise ModelError(
                    f"the loss term {self.kind!r} cannot compare {name!r} of the student, "
                    f"{list(own)[1:]} for each sample, with the teacher's, {list(its)[1:]}; build "
                    "the student with the teacher's outputs"
                )

    def parts(self, seen: Compared) -> Mapping[str, Tensor]:
        """Return a scalar for each output or layer that is compared, before the weight.

        What cannot be compared in this batch is left out.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Part:
    """A named scalar of a loss and its weight in the sum."""

    name: str
    weight: float
    value: Tensor

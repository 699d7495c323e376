"""The base of a loss term: a weight, a schedule, and the signals that it compares.

The members of the union that a recipe may name are in `edgekd/distill/losses.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from edgekd.errors import RecipeError
from edgekd.options import Options
from edgekd.training.signals import NOTHING, Signals, Wanted

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edgekd.tasks.task import SignalKind


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


class Term(Options):
    """A part of a loss: a pure function of the student's and the teacher's signals."""

    kinds: ClassVar[frozenset[SignalKind]] = frozenset()
    """The kinds of outputs that it can compare; outputs of all other kinds are refused."""

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

    def extra(self, student: Signals, teacher: Signals) -> nn.Module | None:
        """Return a module that is trained along and does not ship, for signals of these shapes."""
        return None

    def parts(
        self,
        student: Signals,
        teacher: Signals,
        kinds: Mapping[str, SignalKind],
        extra: nn.Module | None,
    ) -> Mapping[str, Tensor]:
        """Return a scalar for each output or layer that is compared, before the weight."""
        raise NotImplementedError


@dataclass(frozen=True)
class Part:
    """A named scalar of a loss and its weight in the sum."""

    name: str
    weight: float
    value: Tensor

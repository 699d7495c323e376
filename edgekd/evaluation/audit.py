"""What an audit of a teacher finds, as typed values: `audit.json`, the page and the terminal.

What cannot be said of a teacher or its data is in `Audit.skipped`, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from edgekd.benchmarks.stats import Estimate
from edgekd.errors import RunFolderError
from edgekd.evaluation.calibration import Bin, Temperature
from edgekd.evaluation.examples import Thing
from edgekd.evaluation.results import Kind, MetricInfo
from edgekd.evaluation.wrong_classes import WrongClasses
from edgekd.store import write_json

JSON = "audit.json"
PAGE = "audit.html"
MISTAKES = "mistakes.csv"

Standing = Literal["good", "poor", "no better than a guess", "not judged"]
"""How a teacher stands between a guess and no mistake."""


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """What the audit does not say, and why."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class TeacherQuality:
    """One teacher on the validation split."""

    name: str
    metrics: Mapping[str, Estimate]
    """Those of the task that compare with labels."""
    parameters: int | None
    macs: int | None
    """Multiplications of one sample."""
    takes: str
    """Its input in words."""
    temperature: Temperature | None = None
    """None where there are no labels and classes, or there is no such temperature."""
    wrong: WrongClasses | None = None
    """None where there are fewer than three classes."""
    weight: float = 1.0
    """In the mean of several teachers."""


@dataclass(frozen=True, kw_only=True)
class ClassQuality:
    """One class, label or predicted number of the first teacher."""

    label: str
    samples: int
    value: Estimate
    """Percent that is right, average precision, or mean absolute error."""
    taken_for: str = ""
    """The commonest wrong answer."""


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The classes, labels or numbers that do worst, the worst first."""

    measure: str
    unit: str
    rows: tuple[ClassQuality, ...]
    of: int
    """How many there are in all."""


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A sample whose label the teacher contradicts."""

    thing: Thing
    """The sample; its label is the data's."""
    answer: str
    confidence: float
    """The teacher's probability of its answer, in percent; of numbers the error."""
    of_label: float | None
    """The teacher's probability of the label, in percent."""
    sure: bool
    """Whether it is among the half of the samples that the teacher is surest of."""
    file: str = ""
    """The name of its picture, where samples are files."""


@dataclass(frozen=True, kw_only=True)
class Mistakes:
    """The samples whose label the teacher contradicts."""

    total: int
    sure: int
    """Those among the surer half of all samples: wrong labels, or what cannot be told apart."""
    sure_of: int
    """The samples in that half."""
    sure_rate: Estimate
    """Percent of the surer half that is contradicted."""
    from_confidence: float
    """The confidence at which the surer half begins, from 0 to 1."""
    shown: tuple[Mistake, ...]
    """Those with the greatest confidence first."""
    unit: str = "%"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How often two teachers give one answer, in percent."""

    first: str
    second: str
    value: Estimate


@dataclass(frozen=True, kw_only=True)
class Together:
    """Several teachers as one: the weighted mean of their outputs."""

    agreements: tuple[Agreement, ...]
    quality: Estimate | None
    """Of the mean, by the first metric; None without labels."""
    best: str
    gain: Estimate | None
    """Of the mean over the best of them, paired by sample."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What of the input is not the same in teacher and student."""

    what: str
    teacher: str
    student: str


@dataclass(frozen=True, kw_only=True)
class StudentFacts:
    """The student before its training."""

    name: str
    parameters: int | None
    macs: int | None
    differences: tuple[Difference, ...]
    """Of the input; empty where both take the same."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What to do, the measured reason, and the lines of a recipe that do it."""

    do: str
    why: str
    lines: tuple[str, ...] = ()
    """Keys of the step `distill`."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What is known of a teacher before anything learns from it."""

    key: str
    """Of teachers, data, task and student: equal keys, equal audits."""
    task: str
    metric: MetricInfo
    samples: int
    """Of the validation split."""
    kind: Kind
    standing: Standing
    standing_why: str
    teachers: tuple[TeacherQuality, ...]
    """The first teaches; the others are further teachers."""
    on_training: Estimate | None = None
    """The first metric of the first teacher on the calibration split, which is of training samples;
    None without labels."""
    bins: tuple[Bin, ...] = ()
    """Confidence against accuracy of the first; empty where there are no labels and classes."""
    worst: Worst | None = None
    mistakes: Mistakes | None = None
    together: Together | None = None
    student: StudentFacts | None = None
    remarks: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    advice: tuple[Advice, ...] = ()

    @property
    def first(self) -> TeacherQuality:
        """The teacher that is audited."""
        return self.teachers[0]

    @property
    def recipe_lines(self) -> tuple[str, ...]:
        """All lines that are advised."""
        return tuple(line for one in self.advice for line in one.lines)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        plain: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return plain


@cache
def _adapter() -> TypeAdapter[Audit]:
    return TypeAdapter(Audit)


def write_audit(audit: Audit, folder: Path) -> None:
    """Write `audit.json` into `folder`, whole or not at all."""
    write_json(folder / JSON, audit.to_json())


def read_audit(folder: Path) -> Audit | None:
    """Return what `write_audit` wrote; None where there is nothing.

    Raises:
        RunFolderError: it is damaged.
    """
    path = folder / JSON
    if not path.exists():
        return None
    try:
        return _adapter().validate_python(json.loads(path.read_text(encoding="utf8")))
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        raise RunFolderError(
            f"{path} cannot be read as an audit ({str(error).splitlines()[0]}); remove that file "
            "and run the same command again"
        ) from error

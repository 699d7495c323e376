"""What a run came to, as one typed value: report, bundle, ladders and terminal show nothing else.

The pipeline builds a `Record`; `report.json` is the same value, and is validated when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from edgekd.artifact import Variant
from edgekd.benchmarks.measurement import Conditions, Timing
from edgekd.benchmarks.stats import Estimate
from edgekd.errors import RunFolderError
from edgekd.evaluation.evidence import Evidence, FileEvidence
from edgekd.evaluation.gate import Findings, Outcome, Ruling
from edgekd.options import Budget
from edgekd.store import write_json

JSON = "report.json"
Kind = Literal["image", "array", "text"]


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """A metric of the task, as it is shown."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
    is_percentage: bool

    @property
    def title(self) -> str:
        """The metric with its unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def points(self, count: float = 0) -> str:
        """Return what so great a difference of this metric is counted in."""
        if self.is_percentage:
            return "point" if count == 1 else "points"
        return self.unit or self.name


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """What the model is for; the first metric decides."""

    metrics: tuple[MetricInfo, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a task without a metric."""
        if not self.metrics:
            raise ValueError("a task has at least one metric")


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """The data and its splits."""

    kind: Kind
    licence: str
    fingerprint: str
    skipped: tuple[str, ...]
    """Files or rows that cannot be read."""
    splits: Mapping[Literal["train", "calibration", "validation", "test"], int]
    """Samples of each."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What the ranges of a quantized file were taken from."""

    samples: int
    activations: str
    key: str


@dataclass(frozen=True, kw_only=True)
class RungRecord:
    """One stage of the ladder: kept, rolled back, or skipped."""

    title: str
    outcome: Outcome
    reasons: tuple[str, ...]
    verdict: str
    """One line: the reasons, and the numbers that decided."""
    stage: str
    """Its folder in the run; of the stage before, where the step was skipped."""
    rulings: tuple[Ruling, ...]
    """One for each variant that the step made."""
    left: Mapping[Variant, Mapping[str, str]]
    """Layers that quantization left in float, each with the reason."""
    history: tuple[Mapping[str, Any], ...]
    """The options of every step up to this stage, each with its key."""
    calibration: Mapping[Variant, Calibration]
    """Of each quantized variant."""
    evidence: Evidence | None
    """None where the step was skipped."""

    @property
    def kept(self) -> bool:
        """Whether the next step starts from this stage."""
        return self.outcome == "kept"

    @property
    def files(self) -> tuple[FileEvidence, ...]:
        """Every file that was looked at."""
        return () if self.evidence is None else self.evidence.files

    def name_of(self, file: FileEvidence) -> str:
        """Return the stage's title, with the file's variant where the stage made several."""
        return f"{self.title} {file.variant}" if len(self.rulings) > 1 else self.title

    @property
    def judged(self) -> tuple[tuple[FileEvidence, Findings, Ruling], ...]:
        """Each file that the step itself made, with what was found and decided about it."""
        if self.evidence is None:
            return ()
        return tuple(zip(self.evidence.own, self.evidence.findings, self.rulings, strict=True))


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """One kept file, as measured in the last session."""

    title: str
    label: str
    variant: Variant
    sha256: str
    size_bytes: int
    latency_s: Estimate | None
    p90_s: Estimate | None
    speedup: Estimate | None
    """Against the teacher's FP32 file."""
    level: bool
    """Not proven slower than the fastest file of the session."""
    refused: str = ""
    """Why the runtime of the device cannot run it; empty where it can."""


@dataclass(frozen=True, kw_only=True)
class LastSession:
    """Every kept file in one session. It is stored, and no budget is in it."""

    files: tuple[Finalist, ...]
    """The teacher's first."""
    floor: float | None
    session: str | None
    conditions: Conditions


@dataclass(frozen=True, kw_only=True)
class Elsewhere(LastSession):
    """The kept files on a further device of the recipe, where they decide nothing."""

    device: str
    """Its name, and what of its setup is not the default."""
    best: int | None
    """The file that would ship there; None where no speed was measured."""


@dataclass(frozen=True, kw_only=True)
class Final(LastSession):
    """The last session on the first device, and which of its files ships."""

    chosen: int
    elsewhere: tuple[Elsewhere, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a choice that is not among the files."""
        if not 0 <= self.chosen < len(self.files):
            raise ValueError(f"file {self.chosen} ships, of {len(self.files)}")

    @property
    def ships(self) -> Finalist:
        """The file that ships."""
        return self.files[self.chosen]


@dataclass(frozen=True, kw_only=True)
class Tested:
    """One file on the test split."""

    title: str
    label: str
    metrics: Mapping[str, Estimate]
    gain: Estimate
    """Of the first metric, since the teacher."""


@dataclass(frozen=True, kw_only=True)
class OnTest:
    """The test split: the teacher and every kept file, judged once."""

    samples: int
    files: tuple[Tested, ...]


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """Share of one class that is answered rightly, in percent of its test samples."""

    label: str
    samples: int
    teacher: float
    shipped: float


@dataclass(frozen=True, kw_only=True)
class ChangedSample:
    """A test sample that the file that ships answers otherwise than the teacher."""

    index: int
    label: str
    teacher: str
    shipped: str
    image: str | None = None
    """A PNG as a data URI."""
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How the answers on the test split changed."""

    classes: tuple[ClassChange, ...]
    changed: int
    samples: tuple[ChangedSample, ...]
    """Some of those that changed."""


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Seconds of single calls of one finalist, drawn evenly over its processes."""

    title: str
    label: str
    seconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a run came to."""

    name: str
    command: str
    recipe: Mapping[str, Any]
    """As its author would write it, with every default; to be shown and used again."""
    budget: Budget
    devices: tuple[str, ...]
    """Asked for, with their runtimes; the first decides."""
    teacher_licence: str | None
    versions: Mapping[str, str]
    task: TaskInfo
    data: DataInfo
    timing: Timing
    rungs: tuple[RungRecord, ...]
    """The teacher first."""
    final: Final
    test: OnTest
    changes: Changes | None
    """None where the teacher ships, or the task has no classes."""
    calls: tuple[Calls, ...]
    over_budget: str | None
    """Why what ships misses the latency asked for; None where it meets it."""

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together: what is read may be damaged."""
        if not self.rungs or self.rungs[0].evidence is None:
            raise ValueError("the first rung is the teacher, with its evidence")
        for rung in self.rungs:
            judged = rung.evidence.findings if rung.evidence else ()
            if [found.variant for found in judged] != [ruling.variant for ruling in rung.rulings]:
                raise ValueError(f"{rung.title} lacks a ruling on one of its variants")
        given = [file.metrics for rung in self.rungs for file in rung.files]
        given += [file.metrics for file in self.test.files]
        lacking = [m.name for m in self.task.metrics for found in given if m.name not in found]
        if lacking:
            raise ValueError(f"a file lacks the metric {lacking[0]}")
        titles = {rung.title for rung in self.rungs if rung.kept}
        timed = {(f.title, f.label) for f in self.final.files if f.latency_s and f.p90_s}
        strangers = [f.title for f in self.final.files if f.title not in titles]
        strangers += [c.title for c in self.calls if (c.title, c.label) not in timed]
        if strangers:
            raise ValueError(f"there are figures of {strangers[0]}, which was not measured")

    @property
    def metric(self) -> MetricInfo:
        """The metric that decides."""
        return self.task.metrics[0]

    @property
    def ships(self) -> Finalist:
        """The file that ships."""
        return self.final.ships

    @property
    def teacher_ships(self) -> bool:
        """Whether no stage took the teacher's place."""
        return self.ships.title == self.rungs[0].title

    def tested(self, file: Finalist) -> Tested | None:
        """Return a kept file on the test split."""
        key = (file.title, file.label)
        return next((t for t in self.test.files if (t.title, t.label) == key), None)

    def rung_of(self, file: Finalist) -> RungRecord:
        """Return the stage that a kept file belongs to."""
        return next(rung for rung in self.rungs if rung.title == file.title)

    def is_shipped(self, rung: RungRecord, file: FileEvidence) -> bool:
        """Return whether this file of a stage is the one that ships."""
        return (self.ships.title, self.ships.variant) == (rung.title, file.variant)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        plain: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return plain


@cache
def _adapter() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def from_json(value: object) -> Record:
    """Return the record whose `to_json` gave this.

    Raises:
        ValidationError: it is something else.
    """
    return _adapter().validate_python(value)


def write_record(record: Record, folder: Path) -> None:
    """Write `report.json` into `folder`, whole or not at all."""
    write_json(folder / JSON, record.to_json())


def read_record(folder: Path) -> Record:
    """Read `report.json` of a finished run.

    Raises:
        RunFolderError: there is no such file, or it is damaged or of another version.
    """
    path = folder / JSON
    try:
        return from_json(json.loads(path.read_text(encoding="utf8")))
    except FileNotFoundError as error:
        raise RunFolderError(
            f"there is no {JSON} in {folder}; give the folder of a finished run, for instance "
            "runs/mnist. A run that was stopped is finished by its `edgekd compress` command"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise RunFolderError(_unreadable(path, f"{where}: {first['msg']}")) from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(_unreadable(path, str(error))) from error


def _unreadable(path: Path, cause: str) -> str:
    return (
        f"{path} cannot be read as the record of a run ({cause}); it is damaged or of another "
        "version of edgekd. Run the same `edgekd compress` command again: finished stages are "
        "not repeated"
    )

"""The record of a run, as one typed value: report, bundle, ladders and terminal show only this.

The pipeline builds a `Record`; `report.json` is the same value, and is validated when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from edgekd.benchmarks.measurement import Timing
from edgekd.errors import RunFolderError
from edgekd.evaluation.audit import Audit
from edgekd.evaluation.budget import describe_latency
from edgekd.evaluation.evidence import FileEvidence
from edgekd.evaluation.examples import Masks, Retrieval, Scattered
from edgekd.evaluation.results import (
    Calls,
    Changes,
    DataInfo,
    Final,
    Finalist,
    LayerTimes,
    MetricInfo,
    OnTest,
    Origin,
    RungRecord,
    TaskInfo,
    Tested,
)
from edgekd.evaluation.spent_time import Spent
from edgekd.options import Budget
from edgekd.store import write_json

JSON = "report.json"
QUICK_REMARK = (
    "a quick look, which decides nothing: short trainings, few samples, three rounds of timing, "
    "every stage kept"
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """The result of a run."""

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
    """None where the teacher ships, or the task has neither classes nor labels."""
    calls: tuple[Calls, ...]
    over_budget: str | None
    """Why the file that ships exceeds max_latency; None if it does not."""
    scattered: tuple[Scattered, ...] = ()
    """Empty where the task does not predict numbers."""
    masks: Masks | None = None
    """None where the task gives no class for each pixel."""
    retrieval: Retrieval | None = None
    """None where the task gives no vectors."""
    remarks: tuple[str, ...] = ()
    """What makes the whole doubtful, such as a teacher that is no better than a guess."""
    audit: Audit | None = None
    """Of the teacher, before anything learned from it; None where nothing does."""
    origin: Origin = field(default_factory=Origin)
    """Empty where the teacher is a network of PyTorch."""
    layers: LayerTimes | None = None
    """Of the file that ships beside the teacher's; None where that ships, or nothing is known."""
    spent: tuple[Spent, ...] = ()
    """Where the time of the run went, all resumes together."""
    peak_bytes: int = 0
    """The most memory that the whole process of the job had at once; 0 where it is not known."""
    held_bytes: int = 0
    """Of it, what the process had before the job began."""

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
    def quick(self) -> bool:
        """Whether it was only a quick look."""
        return bool(self.recipe.get("quick"))

    @property
    def metric(self) -> MetricInfo:
        """The metric that decides."""
        return self.task.metrics[0]

    @property
    def is_against_teacher(self) -> bool:
        """Whether quality is how near outputs are to the teacher's: it has none, and no drop."""
        return self.metric.against_teacher

    @property
    def ships(self) -> Finalist:
        """The file that ships."""
        return self.final.ships

    @property
    def latency_against_budget(self) -> str:
        """Whether the largest latency is met, in the unit that it was asked in; "" if none was."""
        return describe_latency(self.ships, self.budget, device=self.devices[0])

    @property
    def beside(self) -> tuple[Finalist, ...]:
        """The other files of the bundle: variants of the same network."""
        numbers = (i for i in self.final.bundled if i != self.final.chosen)
        return tuple(self.final.files[i] for i in numbers)

    def shown_label(self, file: Finalist | Tested) -> str:
        """Return the label of a kept file, with the true type of one that is no float32 file."""
        own = (one for one in self.rung_of(file).files if one.label == file.label)
        return next((one.shown_label for one in own), file.label)

    def other_device(self, file: Finalist) -> str:
        """Return the device that is not here and that a file was kept for; or ""."""
        rulings = self.rung_of(file).rulings
        return next((r.not_measured_on for r in rulings if r.variant == file.variant), "")

    @property
    def samples_per_call(self) -> int:
        """How many samples a timed call contains: what the teacher takes at once, else one."""
        inputs = self.rungs[0].files[0].facts.inputs
        first = next((entry.shape[0] for entry in inputs if entry.shape), 1)
        return first if isinstance(first, int) else 1

    @property
    def teacher_ships(self) -> bool:
        """Whether no stage took the teacher's place."""
        return self.ships.title == self.rungs[0].title

    def tested(self, file: Finalist) -> Tested | None:
        """Return a kept file on the test split."""
        key = (file.title, file.label)
        return next((t for t in self.test.files if (t.title, t.label) == key), None)

    def rung_of(self, file: Finalist | Tested) -> RungRecord:
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
        RunFolderError: the file is missing, damaged or of another version.
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


def with_time_of(found: Record, folder: Path) -> Record:
    """Return `found` with the times that are stored in `folder`, where all else is equal.

    A run that is only repeated makes nothing: what it takes to read that again is no part of it.
    """
    try:
        stored = read_record(folder)
    except RunFolderError:  # the first run, or a damaged one
        return found
    same = replace(found, spent=stored.spent)
    return same if same.to_json() == stored.to_json() else found


def _unreadable(path: Path, cause: str) -> str:
    return (
        f"{path} cannot be read as the record of a run ({cause}); it is damaged or of another "
        "version of edgekd. Run the same `edgekd compress` command again: finished stages are "
        "not repeated"
    )

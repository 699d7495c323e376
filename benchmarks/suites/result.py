"""The result of a suite: one session per model, as tables, Markdown and JSON."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekd.benchmarks.formatting import megabytes, milliseconds, times
from edgekd.benchmarks.result import BenchResult, Row
from edgekd.benchmarks.table import bench_table
from edgekd.errors import MeasureError

if TYPE_CHECKING:
    from rich.table import Table


COLUMNS = ("model", "timed", "size", "median [95 %]", "speed-up [95 %]", "verdict")


@dataclass(frozen=True, repr=False)
class ModelResult:
    """One model in all its forms and setups."""

    name: str
    note: str  # what must be said of it; "" if nothing
    result: BenchResult


@dataclass(frozen=True, repr=False)
class SuiteResult:
    """All models of a suite, in its order."""

    title: str
    suite: Mapping[str, Any]  # the suite as plain JSON values
    models: tuple[ModelResult, ...]
    refused: Mapping[str, str]  # by the name of a model: why it could not be made or timed
    day: datetime.date  # UTC, at the start

    def tables(self) -> list[Table]:
        """Return one table per model for people; print them with `rich`."""
        return [_titled(model) for model in self.models]

    def check(self) -> None:
        """Raise if a model is missing in the tables.

        Raises:
            MeasureError: one or more could not be made or timed; each with its reason.
        """
        if self.refused:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.refused.items())
            raise MeasureError(
                f"{len(self.refused)} of {len(self.refused) + len(self.models)} models could not "
                f"be timed. {reasons}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return everything, raw seconds included, as plain JSON values."""
        models = [
            {"name": model.name, "note": model.note, **model.result.to_json()}
            for model in self.models
        ]
        return {
            "day": self.day.isoformat(),
            "suite": dict(self.suite),
            "models": models,
            "refused": dict(self.refused),
        }

    def markdown(self) -> str:
        """Return one table of all models for a README, with the conditions above it."""
        return "\n".join(
            [
                self.head(),
                "",
                _line(*COLUMNS),
                "| --- | --- | ---: | ---: | ---: | --- |",
                *(_line(*row) for row in self.cells()),
                "",
                *(f"- {note}" for note in self.notes()),
            ]
        )

    def cells(self) -> Iterator[tuple[str, ...]]:
        """Yield a line of text for each row of each model, under `COLUMNS`."""
        for model in self.models:
            for row in model.result.rows:
                yield (model.name, row.label, megabytes(row.size_bytes), *_speed(row))
            for name in model.result.unavailable:
                yield (model.name, name, "", "not available", "", "")

    def head(self, *, named: bool = True) -> str:
        """Say what was timed, when, where and how; with the device's name or without."""
        conditions = [row.conditions for model in self.models for row in model.result.rows]
        if not conditions:
            return f"{self.title}. {self.day.isoformat()}: nothing could be timed."
        runtimes = ", ".join(dict.fromkeys(c.runtime for c in conditions))
        processes = sorted({len(m.result.session.twin.runs) for m in self.models})
        counted = str(processes[0]) if len(processes) == 1 else f"{processes[0]} to {processes[-1]}"
        device = f"{conditions[0].device}: " if named else ""
        return (
            f"{self.title}. {self.day.isoformat()}, {device}{conditions[0].cpu}, "
            f"{runtimes}. Each model is one interleaved session of {counted} fresh processes per "
            "row; speed-up is against the model's first row, its interval widened by the A/A noise."
        )

    def notes(self) -> Iterator[str]:
        """Yield what must be said of some of the rows."""
        notes: dict[str, list[str]] = {}
        for model in self.models:
            if model.note:
                notes.setdefault(model.note, []).append(model.name)
            for name, reason in model.result.unavailable.items():
                notes.setdefault(f"{name} {reason}", [])
        for note, names in notes.items():
            yield f"{', '.join(names)}: {note}" if names else note
        for name, reason in self.refused.items():
            yield f"{name}: not timed: {reason}"

    def __repr__(self) -> str:
        """Say the essence in one line per model."""
        return "\n".join(f"{model.name}: {model.result!r}" for model in self.models)


def _titled(model: ModelResult) -> Table:
    table = bench_table(model.result)
    table.title, table.title_justify = model.name.replace("[", "\\["), "left"
    if model.note:
        table.caption = f"{model.note}\n{table.caption}"
    return table


def _speed(row: Row) -> tuple[str, str, str]:
    median = milliseconds(row.latency_s)
    if row.speedup is None:
        return median, "" if row.unlike else "reference", row.verdict
    return median, times(row.speedup), row.verdict


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

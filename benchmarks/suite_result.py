"""What a suite found: one session per model, as tables, as Markdown and as JSON."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekd.benchmarks.result import BenchResult, Row
from edgekd.benchmarks.table import megabytes, milliseconds, times
from edgekd.errors import MeasureError

if TYPE_CHECKING:
    from rich.table import Table


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
    suite: Mapping[str, Any]  # what was asked for, as plain JSON values
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
                *self._head(),
                "",
                "| model | timed | size | median [95 %] | speed-up [95 %] | verdict |",
                "| --- | --- | ---: | ---: | ---: | --- |",
                *(line for model in self.models for line in _lines(model)),
                "",
                *self._foot(),
            ]
        )

    def _head(self) -> Iterator[str]:
        conditions = [row.conditions for model in self.models for row in model.result.rows]
        if not conditions:
            yield f"{self.title}. {self.day.isoformat()}: nothing could be timed."
            return
        runtimes = ", ".join(dict.fromkeys(c.runtime for c in conditions))
        processes = sorted({len(m.result.session.twin.runs) for m in self.models})
        counted = str(processes[0]) if len(processes) == 1 else f"{processes[0]} to {processes[-1]}"
        yield (
            f"{self.title}. {self.day.isoformat()}, {conditions[0].device}: {conditions[0].cpu}, "
            f"{runtimes}. Each model is one interleaved session of {counted} fresh processes per "
            "row; speed-up is against the model's first row, its interval widened by the A/A noise."
        )

    def _foot(self) -> Iterator[str]:
        notes: dict[str, list[str]] = {}
        for model in self.models:
            if model.note:
                notes.setdefault(model.note, []).append(model.name)
            for name, reason in model.result.unavailable.items():
                notes.setdefault(f"{name} {reason}", [])
        for note, names in notes.items():
            yield f"- {', '.join(names)}: {note}" if names else f"- {note}"
        for name, reason in self.refused.items():
            yield f"- {name}: not timed: {reason}"

    def __repr__(self) -> str:
        """Say the essence in one line per model."""
        return "\n".join(f"{model.name}: {model.result!r}" for model in self.models)


def _titled(model: ModelResult) -> Table:
    table = model.result.table()
    table.title, table.title_justify = model.name.replace("[", "\\["), "left"
    if model.note:
        table.caption = f"{model.note}\n{table.caption}"
    return table


def _lines(model: ModelResult) -> Iterator[str]:
    for row in model.result.rows:
        yield _line(model.name, row.label, megabytes(row.size_bytes), *_speed(row))
    for name in model.result.unavailable:
        yield _line(model.name, name, "", "not available", "", "")


def _speed(row: Row) -> tuple[str, str, str]:
    median = milliseconds(row.latency_s)
    if row.speedup is None:
        return median, "reference", ""
    return median, times(row.speedup), row.verdict


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

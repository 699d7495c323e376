"""What differs between several runs: options of their recipes, machines and versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from edgekd.evaluation.record import Record
from edgekd.report.run.recipe_toml import inline

ABSENT = "not there"
Differing = list[tuple[str, tuple[str, ...]]]
"""What it is, and its value in each run, in order."""


def differing_options(records: Sequence[Record]) -> Differing:
    """Return the options that are not the same in all recipes; the name of the run is left out.

    The options of a step are compared where every run has that step; which steps a run has is a row
    of its own.
    """
    titles = [_step_titles(record) for record in records]
    common = set(titles[0]).intersection(*titles[1:])
    return _differing([dict(_options(record, common)) for record in records])


def differing_machines(records: Sequence[Record]) -> Differing:
    """Return what of machine, setup and versions is not the same in all runs."""
    return _differing(
        [
            {
                **{key: str(value) for key, value in timing_setup(record).items()},
                **{f"version of {name}": value for name, value in record.versions.items()},
            }
            for record in records
        ]
    )


def timing_setup(record: Record) -> dict[str, Any]:
    """Return what must be equal for times of two runs to be of the same kind."""
    names = ("device", "cpu", "runtime", "provider", "threads", "os", "emulated")
    found = asdict(record.final.conditions)
    return {name: found[name] for name in names}


def _differing(tables: Sequence[Mapping[str, str]]) -> Differing:
    keys = dict.fromkeys(key for table in tables for key in table)
    rows = [(key, tuple(table.get(key, ABSENT) for table in tables)) for key in keys]
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def _step_titles(record: Record) -> list[str]:
    """Return the titles of the steps in the recipe: the second prune is "prune 2"."""
    found: list[str] = []
    for step in record.recipe.get("steps", ()):
        name = str(step.get("name", ""))
        count = sum(title.split()[0] == name for title in found if title)
        found.append(name if not count else f"{name} {count + 1}")
    return found


def _options(record: Record, common: set[str]) -> Iterator[tuple[str, str]]:
    titles = _step_titles(record)
    yield "steps", ", ".join(titles) or "none"
    for key, value in record.recipe.items():
        if key not in ("name", "steps"):
            yield from _flat(key, value)
    for title, step in zip(titles, record.recipe.get("steps", ()), strict=True):
        if title in common:
            for key, value in step.items():
                yield from _flat(f"{title}: {key}", value)


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}", inner)
    else:
        yield path, inline(value)

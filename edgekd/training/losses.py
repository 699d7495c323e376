"""The mean training loss of every epoch, and notes: kept beside the stages, no part of a result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.store import write_json

LOSSES = "losses.json"
"""In the work folder of a training."""
NOTES = "notes.json"
"""Beside it: lines on what was chosen, for the report."""
FOLDER = "losses"
"""Of a run."""


def add_notes(work: Path, lines: Sequence[str]) -> None:
    """Keep lines on a training for the report; a training that is resumed adds none twice."""
    path = work / NOTES
    known = json.loads(path.read_text(encoding="utf8")) if path.exists() else []
    write_json(path, list(dict.fromkeys([*known, *lines])))


def keep_losses(work: Path, run: Path, stage: str) -> None:
    """Copy the losses and notes of a training out of its work folder, which is removed."""
    for name, suffix in ((LOSSES, ""), (NOTES, ".notes")):
        if (work / name).exists():
            (run / FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(work / name, run / FOLDER / f"{stage}{suffix}.json")


def read_losses(run: Path, history: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """Return the losses of the step that a history ends with, exported or not; () if none."""
    return tuple(float(value) for value in _read(run, history, ""))


def read_notes(run: Path, history: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the notes of the step that a history ends with, exported or not; () if none."""
    return tuple(str(line) for line in _read(run, history, ".notes"))


def _read(run: Path, history: Sequence[Mapping[str, Any]], suffix: str) -> Sequence[Any]:
    for entry in reversed(history[-2:]):
        path = run / FOLDER / f"{entry['name']}-{str(entry['key'])[:12]}{suffix}.json"
        if path.exists():
            found: list[Any] = json.loads(path.read_text(encoding="utf8"))
            return found
    return ()

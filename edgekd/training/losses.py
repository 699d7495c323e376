"""The curves of every training, and notes: kept beside the stages, no part of a result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.store import write_json

Curves = Mapping[str, Sequence[float | None]]
"""Name -> one value for each epoch: "loss" and its parts, the metric on validation, the rate."""
LOSS, RATE = "loss", "learning rate"
"""Names of two curves."""
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


def read_curves(path: Path) -> Curves:
    """Return the curves in a file, in the order of their first epoch; empty if there is none."""
    return dict(json.loads(path.read_text(encoding="utf8"))) if path.exists() else {}


def write_curves(path: Path, curves: Curves) -> None:
    """Write the curves to a file, atomically."""
    write_json(path, [[name, list(values)] for name, values in curves.items()])


def curves_of(run: Path, history: Sequence[Mapping[str, Any]]) -> Curves:
    """Return the curves of the step that a history ends with, exported or not."""
    path = _path(run, history, "")
    return {} if path is None else read_curves(path)


def read_notes(run: Path, history: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the notes of the step that a history ends with, exported or not; () if none."""
    path = _path(run, history, ".notes")
    return () if path is None else tuple(map(str, json.loads(path.read_text(encoding="utf8"))))


def _path(run: Path, history: Sequence[Mapping[str, Any]], suffix: str) -> Path | None:
    for entry in reversed(history[-2:]):
        path = run / FOLDER / f"{entry['name']}-{str(entry['key'])[:12]}{suffix}.json"
        if path.exists():
            return path
    return None

"""The mean training loss of every epoch, kept beside the stages: it is no part of a result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOSSES = "losses.json"
"""In the work folder of a training."""
FOLDER = "losses"
"""Of a run."""


def keep_losses(work: Path, run: Path, stage: str) -> None:
    """Copy the losses of a training out of its work folder, which is removed."""
    if (work / LOSSES).exists():
        (run / FOLDER).mkdir(exist_ok=True)
        shutil.copyfile(work / LOSSES, run / FOLDER / f"{stage}.json")


def read_losses(run: Path, history: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """Return the losses of the step that a history ends with, exported or not; () if none."""
    for entry in reversed(history[-2:]):
        path = run / FOLDER / f"{entry['name']}-{str(entry['key'])[:12]}.json"
        if path.exists():
            return tuple(float(value) for value in json.loads(path.read_text(encoding="utf8")))
    return ()

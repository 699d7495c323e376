"""The curves of a run's trainings while it goes on: a page of its own, and TensorBoard if asked."""

from __future__ import annotations

import re
from pathlib import Path

from edgekd.evaluation.spent_time import TimeLog
from edgekd.pipeline.tensorboard import EventFile
from edgekd.report.run.live import live_page
from edgekd.store import write_atomic
from edgekd.training.losses import Curves

PAGE, EVENTS = "training.html", "tensorboard"
"""In the run folder."""


class LiveCurves:
    """Writes the curves after every epoch."""

    def __init__(self, name: str, folder: Path, log: TimeLog, *, tensorboard: bool) -> None:
        """Write to the run folder of the recipe `name`; `log` knows the stage that is trained."""
        self._name, self._folder, self._log = name, folder, log
        self._tensorboard = tensorboard
        self._stages: dict[str, Curves] = {}
        self._files: dict[str, EventFile] = {}

    def __call__(self, title: str, curves: Curves) -> None:
        """Take the curves of a training as far as it is."""
        stage = self._log.stage
        self._stages[stage] = curves
        self._write(is_running=True)
        if self._tensorboard:
            if stage not in self._files:
                folder = re.sub(r"[^\w.-]+", "-", stage)
                self._files[stage] = EventFile(self._folder / EVENTS / folder)
            self._files[stage].write(curves)

    def close(self) -> None:
        """Write the page once more; it no longer loads itself again."""
        if self._stages:
            self._write(is_running=False)

    def _write(self, *, is_running: bool) -> None:
        page = live_page(self._name, self._stages, is_running=is_running)
        write_atomic(self._folder / PAGE, page)

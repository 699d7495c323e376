"""All that a training needs to go on after an epoch, in one file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgekd.store import write_atomic
from edgekd.training.averaging import WeightAverage
from edgekd.training.early_stop import Best
from edgekd.training.trainee import Trainee


@dataclass
class TrainingState:
    """What changes in a training."""

    trainee: Trainee
    optimizer: torch.optim.Optimizer
    average: WeightAverage | None
    """None: the last weights count."""
    best: Best

    def save(self, path: Path, epochs: int) -> None:
        """Write it whole or not at all, after `epochs` epochs."""
        best = {"epoch": self.best.epoch, "value": self.best.value, "state": self.best.state}
        state = {
            "trainee": self.trainee.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state,
            "best": best,
            "epoch": epochs,
        }
        buffer = io.BytesIO()  # so that a full disk is an OSError, whatever torch makes of it
        torch.save(state, buffer)
        write_atomic(path, buffer.getbuffer())

    def resume(self, path: Path) -> int:
        """Load the checkpoint if there is one; return the number of epochs that are done."""
        if not path.exists():
            return 0
        state: dict[str, Any] = torch.load(path, weights_only=True)
        self.trainee.load_state_dict(state["trainee"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load(state["average"])
        self.best = Best(**state["best"])
        return int(state["epoch"])

"""What a training reports of each epoch: the loss, its parts, the metric on validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from edgekd.training.losses import LOSS, Curves, read_curves, write_curves
from edgekd.training.terms import Part

Watch = Callable[[Curves], None]
"""Called after every epoch with all curves of the training so far."""


class EpochSums:
    """The losses of an epoch's steps; they are read from the device only when asked for."""

    def __init__(self) -> None:
        """Begin an epoch."""
        self._losses: list[Tensor] = []
        self._parts: dict[str, list[Tensor]] = {}

    def add(self, loss: Tensor, parts: Sequence[Part]) -> None:
        """Take in a step."""
        self._losses.append(loss.detach())
        for part in parts if len(parts) > 1 else ():
            self._parts.setdefault(part.name, []).append(part.value.detach())

    def last(self) -> dict[str, float]:
        """Return loss and parts of the last step."""
        found = {LOSS: float(self._losses[-1])}
        return {**found, **{name: float(values[-1]) for name, values in self._parts.items()}}

    def first_broken(self) -> tuple[int, float] | None:
        """Return the first step whose loss is not finite, and that loss; None: all are."""
        for i, loss in enumerate(torch.stack(self._losses).tolist()):
            if not math.isfinite(loss):
                return i, loss
        return None

    def means(self) -> dict[str, float | None]:
        """Return the mean of the loss and of each part, over the steps that had it."""
        named = {LOSS: self._losses, **self._parts}
        return {
            name: round(sum(torch.stack(values).tolist()) / len(values), 6)
            for name, values in named.items()
        }


def note_epoch(path: Path, epoch: int, values: Mapping[str, float | None]) -> Curves:
    """Add an epoch to the curves at `path`; one repeated after a crash replaces its own.

    Returns:
        all of them, each as long as the training so far; None where an epoch had no value.
    """
    known = {name: list(curve[:epoch]) for name, curve in read_curves(path).items()}
    for name in dict.fromkeys([*known, *values]):
        curve = known.get(name, [None] * epoch)
        value = values.get(name)
        fits = value is not None and math.isfinite(value)
        known[name] = [*curve, value if fits else None]
    write_curves(path, known)
    return known


def describe_step(values: Mapping[str, float]) -> str:
    """Write loss and parts of a step as progress shows them, the parts before their weights."""
    parts = [f"{name} {value:.3g}" for name, value in values.items() if name != LOSS]
    return "  ".join([f"loss {values[LOSS]:.4f}", *parts])

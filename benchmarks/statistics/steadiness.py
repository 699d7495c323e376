"""Did it run at one speed. Placeholder until the change-point test is in."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgekd.benchmarks.measurement import Measurement
from edgekd.benchmarks.statistics.estimate import Floats, log_blocks

LEAST_PROCESSES = 3
DRIFT = 0.05


@dataclass(frozen=True)
class Event:
    """Something that happened during a measurement."""

    kind: str
    at_s: float
    size: float
    text: str


@dataclass(frozen=True)
class Steadiness:
    """Whether it ran at one speed, and what happened."""

    steady: bool
    events: tuple[Event, ...] = ()
    throttled: bool = False


def steadiness(measurement: Measurement, *, floor: float) -> Steadiness:
    """Say whether most processes ended as fast as they began."""
    runs = measurement.runs
    drifted = sum(_drifts(log_blocks(run)) for run in runs)
    return Steadiness(len(runs) >= LEAST_PROCESSES and 2 * drifted < len(runs))


def _drifts(blocks: Floats) -> bool:
    third = max(1, len(blocks) // 3)
    drift = abs(np.median(blocks[:third]) - np.median(blocks[-third:]))
    steps = np.abs(np.diff(blocks))
    noise = 1.4826 / math.sqrt(2) * float(np.median(steps)) if len(steps) else math.inf
    return bool(drift >= max(math.log1p(DRIFT), 3 * noise))

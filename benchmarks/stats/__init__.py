"""Statistics over processes, since the calls of one process are not independent samples."""

from __future__ import annotations

from edgekd.benchmarks.stats.compare import LEAST_FLOOR, noise_floor, speedup
from edgekd.benchmarks.stats.early_stopping import percentile_bound
from edgekd.benchmarks.stats.estimate import Estimate, latency, percentile, student
from edgekd.benchmarks.stats.steadiness import (
    Event,
    Steadiness,
    pair_steadiness,
    steadiness,
)
from edgekd.benchmarks.stats.trust import Doubt, energy_j, warnings

__all__ = [
    "LEAST_FLOOR",
    "Doubt",
    "Estimate",
    "Event",
    "Steadiness",
    "energy_j",
    "latency",
    "noise_floor",
    "pair_steadiness",
    "percentile",
    "percentile_bound",
    "speedup",
    "steadiness",
    "student",
    "warnings",
]

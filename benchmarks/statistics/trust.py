"""Placeholder."""

from __future__ import annotations

from dataclasses import dataclass

from edgekd.benchmarks.measurement import Measurement, Session
from edgekd.benchmarks.statistics.estimate import Estimate


@dataclass(frozen=True)
class Doubt:
    """What a sceptic should know."""

    what: str
    advice: str


def warnings(session: Session) -> tuple[Doubt, ...]:
    """Return them."""
    return ()


def energy_j(measurement: Measurement, session: Session) -> Estimate | None:
    """Return it."""
    return None

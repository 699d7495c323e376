"""The events that a measurement may contain: steps, ramps, stalls, throttling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["step", "ramp", "periodic stall", "throttling", "contention", "warm-up"]


@dataclass(frozen=True)
class Event:
    """Something that happened during a measurement.

    The words are those of E. Barrett et al., "Virtual Machine Warmup Blows Hot and Cold", OOPSLA
    2017, as far as they have one.
    """

    kind: Kind
    at_s: float
    """When it began, on the clock of `Sample.at_s`; without samples, seconds of calls since the
    first."""
    size: float
    """How much longer a call took afterwards, relative: 0.2 is 20 % longer, -0.2 is 20 % shorter.
    Of a stall: a stalled call against the others. Of contention: of the blocks that had to wait."""
    text: str  # one sentence for people

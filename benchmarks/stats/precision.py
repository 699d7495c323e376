"""When to stop: all intervals of the session are as narrow as requested."""

from __future__ import annotations

from edgekd.benchmarks.measurement import Session
from edgekd.benchmarks.stats.compare import paired
from edgekd.benchmarks.stats.estimate import exp, latency


def narrow_enough(session: Session, precision: float) -> bool:
    """Say whether the latency of each file, and each ratio to the first, is known so well.

    Args:
        session: so far.
        precision: half of the width of a 95 % interval, relative; 0.02 is 2 %.
    """
    first, *others = (*session.measurements, session.twin)
    intervals = [latency(m) for m in session.measurements]
    intervals += [exp(paired(first, other)) for other in others]
    return all(interval.half_width <= precision for interval in intervals)

"""Work of other programs on the machine that measures: how much there is, and what it does."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

from edgekd.benchmarks.measurement import Conditions, Session
from edgekd.benchmarks.runner import Sensors
from edgekd.benchmarks.stats.trust import other_cores

COMPETING = 0.25
"""Share of the cores: where other programs use more, intervals become wide."""
SHORTEST_S = 0.2
"""Shorter, the counters of the system are too coarse."""


def watch_others() -> Callable[[], float | None]:
    """Return a function: how many cores other programs used on average since this call.

    None where it is not known. The time of children counts as own once they have ended.
    """
    sensors = Sensors()
    first, children = sensors.sample(), _children_s()

    def used() -> float | None:
        last = sensors.sample()
        seconds = (last["at_s"] or 0.0) - (first["at_s"] or 0.0)
        if first["busy_s"] is None or last["busy_s"] is None or seconds < SHORTEST_S:
            return None
        own = (last["own_s"] or 0.0) - (first["own_s"] or 0.0) + _children_s() - children
        return max(0.0, (last["busy_s"] - first["busy_s"] - own) / seconds)

    return used


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def with_others(conditions: Conditions, session: Session) -> Conditions:
    """Return the conditions with what other programs used while the session was timed."""
    used = None if conditions.cores is None else other_cores(session)
    return replace(conditions, other_cores=None if used is None else round(max(0.0, used), 2))


def describe_others(used: float | None, cores: int | None) -> str:
    """Return in a clause that other programs compete with what is measured; "" if they do not."""
    if used is None or cores is None or used <= COMPETING * cores:
        return ""
    return f"{min(used, cores):.1f} of this machine's {cores} cores"


def warn_of_others(used: float | None, conditions: Conditions) -> str:
    """Return the warning before anything is measured; "" where it is quiet or not known."""
    share = describe_others(used, conditions.cores)
    if not share:
        return ""
    load = conditions.load_average
    average = "" if load is None else f" (load average {load:.1f})"
    return (
        f"warning: other programs use {share}{average}: intervals will be wide, and a real gain "
        "may not be shown; end them, or measure when the machine is free"
    )


def describe_session(conditions: Conditions) -> str:
    """Return the same of a session that is over, as a sentence; "" where it was quiet."""
    share = describe_others(conditions.other_cores, conditions.cores)
    if not share:
        return ""
    return (
        f"Other programs used {share} while the last session was timed, so its intervals are wide: "
        "a gain may be real and not shown."
    )

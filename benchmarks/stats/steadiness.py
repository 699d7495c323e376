"""Judge the steady state: did it run at one speed, and if not, what happened?

A figure is worth something where the machine held its speed. E. Barrett et al. ("Virtual Machine
Warmup Blows Hot and Cold", OOPSLA 2017) found that four in ten benchmarks of theirs never do, and
that nobody notices who does not look. What is looked for: `shifts` (steps, ramps, warm-up),
`stalls`, `throttling`, `contention`. `benchmarks/trials/injected.py` counts how often each finds
what was put in, and how often sessions with nothing in them end steady.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgekd.benchmarks.measurement import Measurement
from edgekd.benchmarks.stats.blocks import Blocks, blocks_of
from edgekd.benchmarks.stats.compare import ratio
from edgekd.benchmarks.stats.contention import find_contention
from edgekd.benchmarks.stats.events import Event
from edgekd.benchmarks.stats.shifts import (
    LEAST_PROCESSES,
    LONG,
    across_rounds,
    along_one,
    within_processes,
)
from edgekd.benchmarks.stats.stalls import find_stalls
from edgekd.benchmarks.stats.throttling import find_throttling

LEAST_SHIFT = 0.01  # relative: below it no change of speed is one

__all__ = ["LEAST_SHIFT", "Event", "Steadiness", "pair_steadiness", "steadiness"]


@dataclass(frozen=True, kw_only=True)
class Steadiness:
    """Whether it ran at one speed, and what happened."""

    steady: bool
    events: tuple[Event, ...] = ()  # in the order of time
    throttled: bool = False  # then it cannot win a comparison
    drift: float = 0.0  # the last tenth of the calls against the first, relative, as medians
    steady_from: int = 0  # the first block (of each process) after a warm-up
    enough: bool = True  # there were processes or blocks enough to judge


def steadiness(
    measurement: Measurement, *, floor: float, beside: Sequence[Measurement] = ()
) -> Steadiness:
    """Say whether a measurement ran at one speed.

    A warm-up is not a fault where the steady part is at least half of the blocks; a later change, a
    ramp, a periodic stall, throttling or contention is. Fewer than three processes show nothing,
    unless it is one with twenty blocks or more.

    Args:
        measurement: processes that each ran several blocks, or one long process.
        floor: of its session (`noise_floor`), relative; a smaller shift is not a change, and none
            below 1 % is.
        beside: all measurements of its session, the twin included. With them a change of the
            machine is distinguished from the variation of single processes: at a luck of 1 % and
            six rounds, steps of 5 % are found, without them of 8 %.
    """
    blocks = blocks_of(measurement)
    single = blocks.processes == 1 and len(blocks.run) >= LONG
    if not single and blocks.processes < LEAST_PROCESSES:
        return Steadiness(steady=False, drift=_drift(blocks), enough=False)
    least = math.log1p(max(LEAST_SHIFT, floor))
    if single:
        shifts, steady_from = along_one(blocks, least=least)
    else:
        shifts, steady_from = within_processes(blocks, least=least)
        shifts += across_rounds(blocks, [blocks_of(m) for m in beside], least=least)
    events = shifts + find_stalls(blocks)
    contention = find_contention(measurement, blocks)
    if contention is not None:
        events.append(contention)
    throttling = find_throttling(measurement, blocks, shifts)
    if throttling is not None:  # it is what the slow-downs were
        events = [e for e in events if e.size < 0 or e.kind not in ("step", "ramp")] + [throttling]
    return Steadiness(
        steady=all(event.kind == "warm-up" for event in events),
        events=tuple(sorted(events, key=lambda event: event.at_s)),
        throttled=throttling is not None,
        drift=_drift(blocks),
        steady_from=steady_from,
    )


def pair_steadiness(before: Measurement, after: Measurement, *, floor: float) -> Steadiness:
    """Say whether one file kept its speed against another through a session.

    A shared machine changes its speed all the time, and what runs side by side changes with it:
    that makes absolute times doubtful, and leaves the ratio as it is. A claim about the two rests
    on this; throttling of either is carried over.

    Args:
        before: the reference.
        after: of the same session.
        floor: of it (`noise_floor`), relative.
    """
    hot = any(steadiness(one, floor=floor).throttled for one in (before, after))
    return replace(steadiness(ratio(before, after), floor=floor), throttled=hot)


def _drift(blocks: Blocks) -> float:
    tenth = max(1, len(blocks.seconds) // 10)
    last, first = blocks.seconds[-tenth:], blocks.seconds[:tenth]
    return float(np.median(last) / np.median(first)) - 1

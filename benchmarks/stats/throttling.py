"""Detect throttling of the processor: by its own counter, its clock, or its temperature.

Clocks move for many reasons (a governor, a read between two calls), so a falling clock is
throttling only where the time of a call follows it. Heat by itself is not an event either: it
counts where calls became slower as the temperature rose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.measurement import Measurement, Sample
from edgekd.benchmarks.stats.blocks import Blocks
from edgekd.benchmarks.stats.changes import two_sided
from edgekd.benchmarks.stats.events import Event

Bools = NDArray[np.bool_]

LEAST_FALL = 0.05  # of the clock, relative to its high level
HIGH = 90  # percentile of the clocks that is their high level
FOLLOWED = 0.5  # of the clock's fall (log) must show in the time
ALPHA = 0.01
LUCK = 0.015  # of a process, log scale
NOISE = 0.02  # of a block in its process, log scale
LEAST_RISE_C = 5.0
ALIKE = 0.7  # correlation of temperature and time


def find_throttling(
    measurement: Measurement, blocks: Blocks, slower: Sequence[Event]
) -> Event | None:
    """Return the first evidence of throttling, the surest kind first.

    Args:
        measurement: with its samples.
        blocks: of it.
        slower: steps and ramps that were found in it.
    """
    if any(len(run.samples) != len(run.blocks_s) + 1 for run in measurement.runs):
        return None
    before = [sample for run in measurement.runs for sample in run.samples[:-1]]
    after = [sample for run in measurement.runs for sample in run.samples[1:]]
    return (
        _counted(before, after, blocks)
        or _by_clock(after, blocks)
        or _by_heat(after, blocks, slower)
    )


def _counted(before: Sequence[Sample], after: Sequence[Sample], blocks: Blocks) -> Event | None:
    counts = [sample.throttled for sample in (before[0], *after)]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts) or known[-1] <= known[0]:
        return None
    first = int(np.argmax(np.array(known[1:]) > known[0]))
    level = blocks.levels[0]
    size = math.expm1(level[first:].mean() - level[:first].mean()) if first else 0.0
    times = known[-1] - known[0]
    text = (
        f"the processor counted {times} throttling event{'s' * (times > 1)}; time of a call since "
        f"the first: {100 * size:+.0f} %"
    )
    return Event("throttling", float(blocks.start_s[first]), size, text)


def _by_clock(after: Sequence[Sample], blocks: Blocks) -> Event | None:
    clocks = np.array([sample.clock_hz or math.nan for sample in after])
    if not np.all(np.isfinite(clocks)):
        return None
    high = float(np.percentile(clocks, HIGH))
    low = clocks < (1 - LEAST_FALL) * high
    if low.sum() < 2 or (~low).sum() < 2:
        return None
    fall = float(np.log(clocks[~low].mean() / clocks[low].mean()))
    shift, error = _difference(blocks, low)
    if shift < FOLLOWED * fall or two_sided(shift / error) > ALPHA:
        return None
    size = math.expm1(shift)
    text = (
        f"the clock fell by {100 * -math.expm1(-fall):.0f} % and calls became {100 * size:.0f} % "
        "slower with it"
    )
    return Event("throttling", float(blocks.start_s[int(np.argmax(low))]), size, text)


def _difference(blocks: Blocks, low: Bools) -> tuple[float, float]:
    """Log of how much slower the blocks of a low clock are, and its standard error.

    Of two estimates the surer one: inside processes that saw both clocks, free of their luck, and
    between processes that saw one.
    """
    level = blocks.levels[0]
    inside: list[tuple[float, float]] = []
    for process in range(blocks.processes):
        rows = blocks.rows(process)
        here, values = low[rows], level[rows]
        if here.any() and not here.all():
            error = NOISE * math.sqrt(1 / here.sum() + 1 / (~here).sum())
            inside.append((float(values[here].mean() - values[~here].mean()), error))
    parts = [(0.0, math.inf)]
    if inside:
        shifts, errors = np.array(inside).T
        parts.append((float(shifts.mean()), float(np.sqrt(np.sum(errors**2))) / len(inside)))
    slow = np.array([low[blocks.rows(p)].mean() > 0.5 for p in range(blocks.processes)])
    if len(slow) > 2 and slow.any() and not slow.all():
        levels = np.array([np.median(level[blocks.rows(p)]) for p in range(len(slow))])
        groups = (levels[slow], levels[~slow])
        left = sum(float(np.sum((group - group.mean()) ** 2)) for group in groups)
        luck = math.sqrt((3 * LUCK**2 + left) / (3 + len(slow) - 2))  # moderated: see `changes`
        error = luck * math.sqrt(1 / slow.sum() + 1 / (~slow).sum())
        parts.append((float(groups[0].mean() - groups[1].mean()), error))
    return min(parts, key=lambda part: part[1])


def _by_heat(after: Sequence[Sample], blocks: Blocks, slower: Sequence[Event]) -> Event | None:
    heat = np.array([math.nan if s.temperature_c is None else s.temperature_c for s in after])
    rising = [e for e in slower if e.size > 0 and e.kind in ("step", "ramp")]
    if not rising or not np.all(np.isfinite(heat)):
        return None
    tenth = max(1, len(heat) // 10)
    rise_c = float(np.median(heat[-tenth:]) - np.median(heat[:tenth]))
    if rise_c < LEAST_RISE_C or np.corrcoef(heat, blocks.levels[0])[0, 1] < ALIKE:
        return None
    first = min(rising, key=lambda event: event.at_s)
    size = max(event.size for event in rising)
    text = (
        f"the temperature rose by {rise_c:.0f} degrees and calls became {100 * size:.0f} % slower "
        "with it"
    )
    return Event("throttling", first.at_s, size, text)

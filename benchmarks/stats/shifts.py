"""Find where the speed of a measurement changed: between processes, inside them, in a single one.

Processes are independent samples, each with luck of its own, so a change between them is judged by
how they scatter; one inside them by how much they agree on it, whatever the correlation of their
blocks; one along a single process by its blocks, with their correlation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgekd.benchmarks.stats.blocks import Blocks, Floats
from edgekd.benchmarks.stats.changes import (
    CUT,
    LEAST_SEGMENT,
    Change,
    Limits,
    Prior,
    choose,
    cut_bursts,
    find_change,
    find_changes,
    inflation_of,
    left_of,
    normal_score,
    two_sided,
)
from edgekd.benchmarks.stats.events import Event

LEAST_PROCESSES = 3
LEAST_BETWEEN = 6  # blocks, one of which may contain a step
LONG = 20  # blocks in one process, which may then be judged by itself
MOST_VALUES = 64  # of a long process: its blocks are averaged down to this many
CORRELATED = 12  # values from which on their correlation can be estimated

ALPHA_ALONE = 0.015  # of rounds without others beside them
ALPHA_MEAN = 0.02  # of the mean over all that ran side by side
ALPHA_OWN = 0.004  # of the rounds themselves then
ALPHA_WITHIN = 0.005  # of the processes together
ALPHA_EACH = 0.01  # of each process; more than a third of them must change
ALPHA_LONG = 0.005
ALPHA_FLAT = 0.1  # of what is called steady after a warm-up
FLAGGED = 1 / 3

LUCK = Prior(0.015**2, 3)  # of a process: 1 to 3 % are usual
BLOCK = Prior(0.01**2, 2)  # of a block in its process: 0.5 to 2 %
CORRELATION = 1.5  # inflation that is expected of the blocks of a process
FAST_START = 0.25  # of the blocks: faster than the rest for longer is not a warm-up but a slow-down
SLOW_START = 0.5


def across_rounds(blocks: Blocks, beside: Sequence[Blocks], *, least: float) -> list[Event]:
    """Return how the speed changed from process to process.

    What the machine did shows in everything that ran side by side, while luck does not: their mean
    scatters less, and how much they differ shows the variation between processes.

    Args:
        blocks: of the measurement.
        beside: of all measurements of its session, itself and the twin included; may be empty.
        least: on the log scale; a smaller shift is none.
    """
    own = _rounds(blocks)
    others = np.array([_rounds(b) for b in beside if b.processes == blocks.processes])
    for measure in (0, 1):
        found: list[Change] = []
        if len(others) > 1:
            table = others[:, measure]
            found = _changes(table.mean(axis=0), least, ALPHA_MEAN, _luck_of_mean(table))
        alpha = ALPHA_OWN if len(others) > 1 else ALPHA_ALONE
        found = found or _changes(own[measure], least, alpha, LUCK)
        if found:
            level = blocks.levels[measure]
            return [event for change in found for event in _between(blocks, level, change)]
    return []


def within_processes(blocks: Blocks, *, least: float) -> tuple[list[Event], int]:
    """Return how the speed changed inside the processes, and from which block on it did not.

    Args:
        blocks: of at least three processes.
        least: on the log scale; a smaller shift is none.
    """
    count = int(np.bincount(blocks.run).min())
    rows = [blocks.rows(process).start for process in range(blocks.processes)]
    for measure in (0, 1):
        table = _calm(np.array([blocks.levels[measure, r : r + count] for r in rows]))
        change = _agreed(table, least=least, alpha=ALPHA_WITHIN)
        steady_from = 0 if change is None else _warm_from(table, change, least)
        if change is not None and not steady_from:
            return [_inside(blocks, change)], 0
        flagged = _each(table[:, steady_from:], least)
        if len(flagged) > FLAGGED * blocks.processes:
            return [_scattered(blocks, flagged, steady_from)], 0
        if change is not None:
            return [_warm_up(blocks, table, steady_from)], steady_from
    return [], 0


def along_one(blocks: Blocks, *, least: float) -> tuple[list[Event], int]:
    """Return how the speed changed along one long process, and from which block on it did not."""
    for measure in (0, 1):
        level = blocks.levels[measure]
        group = math.ceil(len(level) / MOST_VALUES)
        ends = np.arange(0, len(level), group)
        values = cut_bursts(np.add.reduceat(level, ends) / np.diff(ends, append=len(level)))
        inflation = inflation_of([values], BLOCK)
        limits = Limits(least, ALPHA_LONG, BLOCK, inflation)
        found = [
            replace(c, first=c.first * group, last=min(c.last * group, len(level)))
            for c in find_changes(values, limits)
        ]
        if found:
            return _along(blocks, level, found)
    return [], 0


def _rounds(blocks: Blocks) -> Floats:
    """Typical level of each process: the median over its blocks, [2, processes]."""
    rows = [blocks.levels[:, blocks.rows(process)] for process in range(blocks.processes)]
    return np.array([np.median(row, axis=1) for row in rows]).T


def _luck_of_mean(table: Floats) -> Prior:
    """Noise of the mean over candidates, [candidates, rounds], from what no round explains.

    It weighs two values only: what hits a whole round by chance is not in there.
    """
    candidates, rounds = table.shape
    left = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    variance = float(np.sum(left**2)) / ((candidates - 1) * (rounds - 1))
    return Prior(variance / candidates, 2)


def _changes(series: Floats, least: float, alpha: float, prior: Prior) -> list[Change]:
    inflation = 1.0
    if len(series) >= CORRELATED:
        series = cut_bursts(series)
        inflation = inflation_of([series], prior)
    found = find_changes(series, Limits(least, alpha, prior, inflation))
    return list(found)


def _between(blocks: Blocks, level: Floats, change: Change) -> list[Event]:
    """Put a change of rounds into words."""
    size = math.expm1(change.shift)
    total = blocks.processes
    if change.kind == "ramp":
        first = blocks.rows(change.first).start
        text = f"calls became {_percent(size)} over {change.last - change.first} rounds"
        return [Event("ramp", float(blocks.start_s[first]), size, text)]
    events = []
    for place, shift in ((change.first, change.shift), (change.last, -change.shift)):
        if 0 < place < total:
            block = _boundary(blocks, level, place)
            text = f"from round {place + 1} of {total} on calls were {_percent(math.expm1(shift))}"
            at_s = float(blocks.start_s[block])
            events.append(Event("step", at_s, math.expm1(shift), text))
    return events


def _boundary(blocks: Blocks, level: Floats, process: int) -> int:
    """The block of this process or the one before from which on the level was another one."""
    start, end = blocks.rows(process - 1).start, blocks.rows(process).stop
    part = level[start:end] - level[start:end].mean()
    before = np.arange(1, len(part))
    gain = np.cumsum(part)[:-1] ** 2 / (before * (len(part) - before))
    return int(start) + 1 + int(np.argmax(gain))


def _calm(table: Floats) -> Floats:
    """Levels of processes x blocks less each process's own, bursts cut off.

    A burst is what leaves the median course of the processes by four deviations.
    """
    table = table - np.median(table, axis=1, keepdims=True)
    course = np.median(table, axis=0)
    away = table - course
    most = CUT * 1.4826 * float(np.median(np.abs(away)))
    return np.asarray(course + np.clip(away, -most, most))


def _agreed(table: Floats, *, least: float, alpha: float) -> Change | None:
    """Find the common change of all processes: Student's t of one contrast per process.

    That there is a step is known from the contrast that is most significant, where it is from the
    one that fits best: of few processes some agree by chance, far from the step.
    """
    processes, n = table.shape
    if n < 2:
        return None
    x = np.arange(n) - (n - 1) / 2
    weights = [np.where(np.arange(n) < b, -1 / b, 1 / (n - b)) for b in range(1, n)]
    contrasts = np.array([*weights, x / (x @ x) * n])  # the last is the rise of a line
    values = contrasts @ table.T
    shift = values.mean(axis=1)
    prior = CORRELATION * BLOCK.variance * np.sum(contrasts**2, axis=1)
    degrees = BLOCK.degrees + processes - 1
    variance = BLOCK.degrees * prior + (processes - 1) * values.var(axis=1, ddof=1)
    error = np.sqrt(np.maximum(variance / degrees / processes, 1e-12))
    scores = np.abs(normal_score(shift / error, degrees))
    course = table.mean(axis=0)
    p_step = min(1.0, (n - 1) * two_sided(float(scores[:-1].max())))
    before = np.arange(1, n)
    best = int(np.argmax(shift[:-1] ** 2 * before * (n - before)))  # explains most of the course
    found = [
        Change(
            kind="step", first=best + 1, last=n, shift=float(shift[best]), p=p_step, residual=0.0
        ),
        Change(
            kind="ramp",
            first=0,
            last=n,
            shift=float(shift[-1]),
            p=two_sided(float(scores[-1])),
            residual=0.0,
        ),
    ]
    found = [replace(change, residual=_unexplained(course, change)) for change in found]
    return choose(found, n, Limits(least, alpha, BLOCK))


def _unexplained(course: Floats, change: Change) -> float:
    """Sum of squares that a step or a line leaves of the mean course of the processes.

    A step that falls inside a block leaves a value in between, which is not held against it.
    """
    whole = float(np.sum(np.square(left_of(course, change))))
    if change.kind == "ramp" or len(course) < LEAST_BETWEEN:
        return whole
    without = []
    for block in (change.first - 1, change.first):
        others = np.delete(course, block)
        moved = replace(change, first=block, last=len(others))
        if 0 < block < len(others):
            without.append(float(np.sum(np.square(left_of(others, moved)))))
    return min([whole, *without])


def _warm_from(table: Floats, change: Change, least: float) -> int:
    """The first block of the long steady part; 0 if there is none."""
    n = table.shape[1]
    if change.kind == "ramp":
        return 0
    for start in range(1, int(SLOW_START * n) + 1):
        if _agreed(table[:, start:], least=least, alpha=ALPHA_FLAT) is None:
            shift = table[:, start:].mean() - table[:, :start].mean(axis=0)
            slow = bool(np.all(shift < 0))
            return start if slow or (bool(np.all(shift > 0)) and start <= FAST_START * n) else 0
    return 0


def _each(table: Floats, least: float) -> list[tuple[int, Change]]:
    """Processes that changed, each by itself."""
    if table.shape[1] < 2 * LEAST_SEGMENT:
        return []
    rows = list(table)
    inflation = inflation_of(rows, BLOCK)
    changes = [find_change(row, Limits(least, ALPHA_EACH, BLOCK, inflation)) for row in rows]
    return [(process, change) for process, change in enumerate(changes) if change is not None]


def _inside(blocks: Blocks, change: Change) -> Event:
    size = math.expm1(change.shift)
    at_s = float(blocks.start_s[change.first])
    if change.kind == "ramp":
        return Event("ramp", at_s, size, f"inside each process calls became {_percent(size)}")
    text = f"inside each process calls were {_percent(size)} from block {change.first + 1} on"
    return Event("step", at_s, size, text)


def _scattered(blocks: Blocks, flagged: list[tuple[int, Change]], steady_from: int) -> Event:
    ramps = sum(change.kind == "ramp" for _, change in flagged)
    process, change = max(flagged, key=lambda pair: abs(pair[1].shift))
    size = math.expm1(change.shift)
    at_s = float(blocks.start_s[blocks.rows(process).start + steady_from + change.first])
    text = (
        f"in {len(flagged)} of {blocks.processes} processes the speed changed, the most in "
        f"process {process + 1}: calls became {_percent(size)}"
    )
    return Event("ramp" if 2 * ramps > len(flagged) else "step", at_s, size, text)


def _warm_up(blocks: Blocks, table: Floats, start: int) -> Event:
    size = math.expm1(float(table[:, start:].mean() - table[:, :start].mean()))
    text = f"each process was steady from block {start + 1} on, where calls were {_percent(size)}"
    return Event("warm-up", float(blocks.start_s[0]), size, text)


def _along(blocks: Blocks, level: Floats, found: list[Change]) -> tuple[list[Event], int]:
    """Put the changes along one process into words; a slow start of it is a warm-up."""
    n = len(level)
    events = []
    for change in found:
        if change.kind == "ramp":
            size = math.expm1(change.shift)
            text = f"from block {change.first + 1} to {change.last} calls became {_percent(size)}"
            events.append(Event("ramp", float(blocks.start_s[change.first]), size, text))
    edges = sorted({place for c in found if c.kind != "ramp" for place in (c.first, c.last)})
    edges = [0, *(place for place in edges if 0 < place < n), n]
    levels = [float(np.median(level[a:b])) for a, b in itertools.pairwise(edges)]
    last = edges[-2]
    slow = all(before > levels[-1] for before in levels[:-1])
    fast = all(before < levels[-1] for before in levels[:-1])
    if not events and ((slow and last <= SLOW_START * n) or (fast and last <= FAST_START * n)):
        size = math.expm1(levels[-1] - levels[0])
        text = f"steady from block {last + 1} of {n} on, where calls were {_percent(size)}"
        return [Event("warm-up", float(blocks.start_s[0]), size, text)], last
    for place, before, after in zip(edges[1:], levels, levels[1:], strict=False):
        size = math.expm1(after - before)
        text = f"from block {place + 1} of {n} on calls were {_percent(size)}"
        events.append(Event("step", float(blocks.start_s[place]), size, text))
    return events, 0


def _percent(size: float) -> str:
    per_cent = 100 * abs(size)
    digits = 0 if per_cent >= 10 else 1
    return f"{per_cent:.{digits}f} % {'slower' if size > 0 else 'faster'}"

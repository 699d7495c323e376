"""Detect other work on the core: the process was ready to run, but did not run.

Two processes on one core take turns of some milliseconds. Calls much shorter than a turn leave
their median where it was, and a few of them take a turn longer: no step, and often no period. What
cannot hide is the processor time of the process itself, which does not advance meanwhile.
"""

from __future__ import annotations

import numpy as np

from edgekd.benchmarks.measurement import Measurement
from edgekd.benchmarks.stats.blocks import Blocks
from edgekd.benchmarks.stats.events import Event

OWN = 90  # percentile of the blocks' shares of processor time that is the model's own
LOST = 0.2  # of that share: a block that lost more had to wait for its core
LEAST_BLOCKS = 3
LEAST_SHARE = 0.1  # of the blocks; a system's own work disturbs one now and then


def find_contention(measurement: Measurement, blocks: Blocks) -> Event | None:
    """Return how much of its time the process lost to others, if that was more than now and then.

    A model on an accelerator leaves its core by itself, so a block is held against the others: what
    lasts from the first block to the last is not seen here (`trust` reports how busy the machine
    was).
    """
    setup = measurement.conditions
    if setup.threads > 1 or setup.streams > 1:
        return None  # threads of a pool sleep by themselves, now more and now less
    cpu_s = np.array([seconds for run in measurement.runs for seconds in run.cpu_s])
    if len(cpu_s) != len(blocks.elapsed_s):
        return None  # not counted, or at a fixed rate, where a process sleeps between calls
    share = cpu_s / blocks.elapsed_s
    lost = 1 - share / max(float(np.percentile(share, OWN)), 1e-9)
    waited = lost > LOST
    if waited.sum() < max(LEAST_BLOCKS, LEAST_SHARE * len(lost)):
        return None
    size = float(
        blocks.elapsed_s[waited].sum() / np.sum((1 - lost[waited]) * blocks.elapsed_s[waited])
    )
    text = (
        f"in {waited.sum()} of {len(lost)} blocks other work took the core for "
        f"{100 * (1 - 1 / size):.0f} % of the time"
    )
    return Event("contention", float(blocks.start_s[int(np.argmax(waited))]), size - 1, text)

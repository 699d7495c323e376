"""Compare two files of one interleaved session: the ratio of their medians.

With ten rounds or more (one process of each file side by side) the interval is Student's over the
rounds, whose false alarms `benchmarks/trials/twins.py` counts. With fewer it is the wider of two:

* the expanded percentile bootstrap over rounds, then over the blocks inside each (T. Hesterberg,
  "What Teachers Should Know About the Bootstrap", 2015, arXiv:1411.5279, section on narrowness
  bias): alpha/2 becomes Phi(-sqrt(n/(n-1)) t), with t the Student quantile for n-1 degrees;
* Student's interval of the rounds. Resampling 3 to 5 values cannot reach beyond them: simulated,
  its 95 % interval covers 73 % with 3 processes whose blocks agree.

The first guards against rounds that agree by chance, the second against having few of them. With
many rounds the first counts the noise of the blocks twice: of 24 rounds it was half as wide again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from edgekd.benchmarks.measurement import Measurement, Session
from edgekd.benchmarks.stats.estimate import (
    ERROR,
    Estimate,
    Floats,
    exp,
    log_blocks,
    student,
)
from edgekd.benchmarks.stats.student import student_quantile
from edgekd.errors import MeasureError

MANY = 10  # rounds: too many to agree by chance
RESAMPLES = 2000
SEED = 20150915  # fixed: the same raw numbers always give the same interval
LEAST_FLOOR = 0.005  # differences below half a per cent come from memory layout, not from the model


def speedup(
    before: Measurement,
    after: Measurement,
    *,
    floor: float,
    samples: tuple[int, int] = (1, 1),
    error: float = ERROR,
) -> Estimate:
    """Return how many times faster `after` is: seconds before / seconds after, paired by block.

    Medians of blocks that ran side by side are divided by each other, so drift of the machine
    cancels; the median over the blocks of a round keeps a burst of other work out; the value is the
    geometric mean over rounds. The interval is widened by `floor` on both sides. Equal files in
    equal setups are equally fast by definition: exactly 1.

    Args:
        before: the reference.
        after: what should be faster.
        floor: of their session (`noise_floor`), relative, >= 0.
        samples: in one call of each; where they differ, the seconds of a sample are compared.
        error: how often the interval may lack the true ratio; smaller where a session may end early
            (`looks.error_of`).

    Raises:
        MeasureError: they are not of one interleaved session on one machine.
    """
    if floor < 0:
        raise ValueError(f"floor is {floor}; it must be 0 or more")
    if before.session != after.session or before.conditions.machine != after.conditions.machine:
        raise MeasureError(
            "the two measurements come from different sessions or machines "
            f"({_origin(before)}; {_origin(after)}), and only one interleaved session is paired: "
            "measure both files together"
        )
    more = samples[1] / samples[0]
    same = (before.file_sha256, before.conditions) == (after.file_sha256, after.conditions)
    if same and more == 1:
        return Estimate(1.0, 1.0, 1.0, len(after.runs))
    ratio = exp(paired(before, after, error))
    low, high = ratio.low / (1 + floor), ratio.high * (1 + floor)
    return Estimate(ratio.value * more, low * more, high * more, ratio.n)


def ratio(before: Measurement, after: Measurement) -> Measurement:
    """Return how the ratio of two files went over a session, as if it were seconds of calls.

    Blocks that ran side by side saw the same machine: its own changes of speed cancel, and what is
    left is whether one of the files changed against the other.
    """
    runs = tuple(
        replace(
            a,
            blocks_s=tuple((float(x),) for x in np.exp(log_blocks(a) - log_blocks(b))),
            cpu_s=(),  # who works beside takes the core from both
        )
        for a, b in zip(after.runs, before.runs, strict=True)
    )
    return replace(after, runs=runs)


def noise_floor(session: Session) -> float:
    """Return the relative difference found between two timings of one file, at least 0.005.

    The interval of a speed-up covers the noise of sampling processes already. The floor adds what
    that interval may not know: the difference that equal files really showed in this session. To
    add the whole A/A interval would count the same noise twice, and small true gains could no
    longer be proven.
    """
    value = paired(session.measurements[0], session.twin).value
    return max(LEAST_FLOOR, math.expm1(abs(value)))


def paired(before: Measurement, after: Measurement, error: float = ERROR) -> Estimate:
    """Log of the ratio, without floor."""
    pairs = zip(before.runs, after.runs, strict=True)
    rounds = [log_blocks(a) - log_blocks(b) for a, b in pairs]
    plain = student(np.array([np.median(blocks) for blocks in rounds]), error)
    n = plain.n
    if n >= MANY:
        return plain
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * student_quantile(error, n - 1))
    low, high = np.quantile(_resampled(rounds), [tail, 1 - tail])
    return Estimate(plain.value, min(plain.low, float(low)), max(plain.high, float(high)), n)


def _resampled(rounds: Sequence[Floats]) -> Floats:
    """Means of resampled rounds with resampled blocks, shape [RESAMPLES]."""
    generator = np.random.default_rng(SEED)
    n = len(rounds)
    # Medians of resampled blocks are drawn per round, n per resample, and then picked: the same
    # distribution as drawing inside the picked round, without a ragged array.
    draws = min(n, 16)  # of each round; more would add nothing new
    medians = np.empty((n, RESAMPLES, draws))
    for i, blocks in enumerate(rounds):
        picks = generator.integers(0, len(blocks), (RESAMPLES, draws, len(blocks)))
        medians[i] = np.median(blocks[picks], axis=2)
    rows = np.arange(RESAMPLES)[:, None]
    chosen = generator.integers(0, n, (RESAMPLES, n))
    return np.asarray(medians[chosen, rows, np.arange(n) % draws].mean(axis=1))


def _origin(measurement: Measurement) -> str:
    c = measurement.conditions
    return f"session {measurement.session[:8]} on {c.device}, {c.runtime}, {c.threads} threads"

"""From raw seconds to claims. The samples are processes: calls inside one share its luck.

All values are positive and are treated on the log scale: a ratio and its inverse then get mirrored
intervals, and the ratio of two latencies is the speed-up. An interval is the wider of two:

* the expanded percentile bootstrap over processes, then over the blocks inside each (T. Hesterberg,
  "What Teachers Should Know About the Bootstrap", 2015, arXiv:1411.5279, section on narrowness
  bias): alpha/2 becomes Phi(-sqrt(n/(n-1)) t), with t the Student quantile for n-1 degrees;
* Student's interval of the processes. Resampling 3 to 5 values cannot reach beyond them: simulated,
  its 95 % interval covers 73 % with 3 processes whose blocks agree.

The first guards against processes that agree by luck, the second against having few of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.measurement import Measurement, ProcessRun
from edgekd.errors import MeasureError

Floats = NDArray[np.float64]

RESAMPLES = 2000
SEED = 20150915  # fixed: the same raw numbers always give the same interval
LEAST_FLOOR = 0.005  # differences below half a per cent are layout luck, and nobody's gain
DRIFT = 0.05  # between the first and the last third of a process

_T975 = (
    *(math.inf, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)
"""Student quantiles at 0.975, by degrees of freedom; beyond 20 see `_t975`."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval over n processes or samples."""

    value: float
    low: float
    high: float
    n: int


def latency(measurement: Measurement) -> Estimate:
    """Return the median seconds of a call: geometric mean of the processes' medians."""
    return percentile(measurement, 50)


def percentile(measurement: Measurement, q: float) -> Estimate:
    """Return the q-th percentile of the seconds of a call, 0 <= q <= 100.

    It is taken over all calls of a process, slow ones of whatever cause included; the value is the
    geometric mean over processes.
    """
    calls = [np.concatenate(run.blocks_s) for run in measurement.runs]
    return _exp(_estimate([np.log(np.percentile(all_calls, [q])) for all_calls in calls]))


def speedup(before: Measurement, after: Measurement, *, floor: float) -> Estimate:
    """Return how many times faster `after` is: seconds before / seconds after, paired by block.

    Medians of blocks that ran side by side are divided by each other, so drift of the machine
    cancels; the median over the blocks of a round keeps a burst of other work out; the value is the
    geometric mean over rounds. The interval is widened by `floor` on both sides. Equal files are
    equally fast by definition: exactly 1.

    Args:
        before: the reference.
        after: what should be faster.
        floor: of their session (`Session.floor`), relative, >= 0.

    Raises:
        MeasureError: they are not of one interleaved session under the same conditions.
    """
    if floor < 0:
        raise ValueError(f"floor is {floor}; it must be 0 or more")
    if before.session != after.session or before.conditions != after.conditions:
        raise MeasureError(
            "the two measurements come from different sessions or conditions "
            f"({_origin(before)}; {_origin(after)}), and only one interleaved session is paired: "
            "measure both files together"
        )
    if before.file_sha256 == after.file_sha256:
        return Estimate(1.0, 1.0, 1.0, len(after.runs))
    ratio = _exp(_paired(before, after))
    return Estimate(ratio.value, ratio.low / (1 + floor), ratio.high * (1 + floor), ratio.n)


def noise_floor(one: Measurement, twin: Measurement) -> float:
    """Return the relative difference found between two timings of one file, at least 0.005.

    The interval of a speed-up covers the noise of sampling processes already. The floor adds what
    that interval may not know: the difference that equal files really showed in this session. To
    add the whole A/A interval would count the same noise twice, and small true gains could no
    longer be proven.
    """
    return max(LEAST_FLOOR, math.expm1(abs(_paired(one, twin).value)))


def is_steady(runs: Sequence[ProcessRun]) -> bool:
    """Say whether most processes ended as fast as they began.

    A process is steady when the medians of its first and its last third of blocks differ by less
    than 5 %, or by less than three times the noise of a block. That noise is judged by the steps
    from block to block (median, scaled to a standard deviation): a drift must not excuse itself.
    """
    return 2 * sum(_drifts(_log_blocks(run)) for run in runs) < len(runs)


def _drifts(blocks: Floats) -> bool:
    third = max(1, len(blocks) // 3)
    drift = abs(np.median(blocks[:third]) - np.median(blocks[-third:]))
    steps = np.abs(np.diff(blocks))
    noise = 1.4826 / math.sqrt(2) * float(np.median(steps)) if len(steps) else math.inf
    return bool(drift >= max(math.log1p(DRIFT), 3 * noise))


def _log_blocks(run: ProcessRun) -> Floats:
    return np.log([np.median(block) for block in run.blocks_s])


def _paired(before: Measurement, after: Measurement) -> Estimate:
    """Log of the ratio, without floor."""
    pairs = zip(before.runs, after.runs, strict=True)
    return _estimate([_log_blocks(a) - _log_blocks(b) for a, b in pairs])


def _estimate(processes: Sequence[Floats]) -> Estimate:
    """Mean over processes of the median over blocks, with the wider of both intervals."""
    n = len(processes)
    values = np.array([np.median(blocks) for blocks in processes])
    mean = float(values.mean())
    if n < 2:
        raise MeasureError("an interval needs at least two processes; raise Timing.rounds")
    half = _t975(n - 1) * float(values.std(ddof=1)) / math.sqrt(n)
    tail = NormalDist().cdf(-math.sqrt(n / (n - 1)) * _t975(n - 1))
    low, high = np.quantile(_resampled(processes), [tail, 1 - tail])
    return Estimate(mean, min(mean - half, float(low)), max(mean + half, float(high)), n)


def _resampled(processes: Sequence[Floats]) -> Floats:
    """Means of resampled processes with resampled blocks, shape [RESAMPLES]."""
    generator = np.random.default_rng(SEED)
    n = len(processes)
    total = np.zeros(RESAMPLES)
    # Medians of resampled blocks are drawn per process, n per resample, and then picked: the same
    # distribution as drawing inside the picked process, without a ragged array.
    medians = np.empty((n, RESAMPLES, n))
    for process, blocks in enumerate(processes):
        picks = generator.integers(0, len(blocks), (RESAMPLES, n, len(blocks)))
        medians[process] = np.median(blocks[picks], axis=2)
    rows = np.arange(RESAMPLES)
    for draw in range(n):
        total += medians[generator.integers(0, n, RESAMPLES), rows, draw]
    return total / n


def _t975(degrees: int) -> float:
    """Student quantile at 0.975; above 20 degrees by the usual expansion, right to 0.001."""
    if degrees < len(_T975):
        return _T975[degrees]
    z = 1.959964
    return z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)


def _exp(log: Estimate) -> Estimate:
    return Estimate(math.exp(log.value), math.exp(log.low), math.exp(log.high), log.n)


def _origin(measurement: Measurement) -> str:
    c = measurement.conditions
    return f"session {measurement.session[:8]} on {c.device}, {c.runtime}, {c.threads} threads"

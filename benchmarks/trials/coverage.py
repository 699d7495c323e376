"""How often do the 95 % intervals contain the true value?

    python -m edgekd.benchmarks.trials.coverage --json benchmarks/results/coverage.json

Latencies are drawn from distributions whose percentiles are known; in each trial every process
gives n calls, and the intervals of the median and of p90 are those that `edgekd bench` reports.
The truth is the percentile of a typical process: the one without luck.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from edgekd.benchmarks.stats.estimate import Floats, percentile_of
from edgekd.benchmarks.trials.report import conclude

PROCESSES = 6  # what `edgekd bench` takes at least
CALLS = (100, 1000)  # of each process
PERCENTILES = (50, 90)
LUCK = 0.1  # standard deviation of the log of a process's own factor
CORRELATION = 0.8
MODES = (0.7, 1.4)  # share of the first mode, place of the second relative to the first
NARROW = 0.03  # deviation of the log inside a mode

Draw = Callable[[np.random.Generator, int, int], Floats]
Quantile = Callable[[float], float]


@dataclass(frozen=True)
class Coverage:
    """How often the interval of one percentile held the truth."""

    distribution: str
    calls: int
    percentile: int
    share: float
    below: float
    """Share of trials in which the truth lay below the interval."""


def lognormal(generator: np.random.Generator, processes: int, calls: int) -> Floats:
    """Independent calls."""
    return np.exp(0.25 * generator.standard_normal((processes, calls)))


def two_modes(generator: np.random.Generator, processes: int, calls: int) -> Floats:
    """Seven calls in ten are fast, three are 1.4 times slower."""
    fast = generator.random((processes, calls)) < MODES[0]
    noise = np.exp(NARROW * generator.standard_normal((processes, calls)))
    return np.where(fast, 1.0, MODES[1]) * noise


def heavy_tail(generator: np.random.Generator, processes: int, calls: int) -> Floats:
    """A Lomax tail with exponent 1.5: it has no variance."""
    return 1 + 0.1 * generator.pareto(1.5, (processes, calls))


def correlated(generator: np.random.Generator, processes: int, calls: int) -> Floats:
    """Log-normal calls, each correlated with the one before: AR(1)."""
    steps = generator.standard_normal((calls, processes)) * math.sqrt(1 - CORRELATION**2)
    series = np.empty((calls, processes))
    series[0] = generator.standard_normal(processes)
    for i in range(1, calls):
        series[i] = CORRELATION * series[i - 1] + steps[i]
    return np.exp(0.1 * series.T)


def with_luck(draw: Draw) -> Draw:
    """Return `draw` with a factor of its own for every process."""

    def lucky(generator: np.random.Generator, processes: int, calls: int) -> Floats:
        luck = np.exp(LUCK * generator.standard_normal((processes, 1)))
        return np.asarray(draw(generator, processes, calls) * luck)

    return lucky


def _normal(deviation: float) -> Quantile:
    return lambda p: math.exp(deviation * NormalDist().inv_cdf(p))


def _two_modes(p: float) -> float:
    """Invert the distribution function by halving."""
    share, place = MODES
    low, high = 0.5, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        fast = NormalDist().cdf(math.log(middle) / NARROW)
        slow = NormalDist().cdf(math.log(middle / place) / NARROW)
        low, high = (middle, high) if share * fast + (1 - share) * slow < p else (low, middle)
    return low


DISTRIBUTIONS: dict[str, tuple[Draw, Quantile]] = {
    "log-normal": (lognormal, _normal(0.25)),
    "two modes": (two_modes, _two_modes),
    "heavy tail": (heavy_tail, lambda p: 1 + 0.1 * ((1 - p) ** (-1 / 1.5) - 1)),
    "AR(1) 0.8": (correlated, _normal(0.1)),
    "luck per process": (with_luck(lognormal), _normal(0.25)),
    "AR(1) and luck": (with_luck(correlated), _normal(0.1)),
}
"""How to draw [processes, calls], and the true quantile of a typical process."""


def coverage(name: str, calls: int, *, trials: int, seed: int = 0) -> list[Coverage]:
    """Simulate one distribution; one entry per percentile."""
    draw, quantile = DISTRIBUTIONS[name]
    generator = np.random.default_rng([seed, calls, *name.encode()])
    held = dict.fromkeys(PERCENTILES, 0)
    below = dict.fromkeys(PERCENTILES, 0)
    for _ in range(trials):
        processes = list(draw(generator, PROCESSES, calls))
        for q in PERCENTILES:
            truth, found = quantile(q / 100), percentile_of(processes, q)
            held[q] += found.low <= truth <= found.high
            below[q] += truth < found.low
    return [Coverage(name, calls, q, held[q] / trials, below[q] / trials) for q in PERCENTILES]


def main() -> None:
    """Print how often every interval held the truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = [
        entry
        for name in DISTRIBUTIONS
        for calls in CALLS
        for entry in coverage(name, calls, trials=arguments.trials)
    ]
    rows = [
        [c.distribution, str(c.calls), f"p{c.percentile}", f"{100 * c.share:.1f} %"] for c in found
    ]
    conclude(
        f"95 % intervals over {PROCESSES} processes that contain the true value, "
        f"{arguments.trials} trials",
        ["distribution", "calls per process", "of", "held"],
        rows,
        {"trials": arguments.trials, "processes": PROCESSES, "rows": [asdict(c) for c in found]},
        arguments.json,
    )


if __name__ == "__main__":
    main()

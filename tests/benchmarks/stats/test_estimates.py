from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.benchmarks.measurement import Conditions, Measurement, ProcessRun, Session, Timing
from edgekd.benchmarks.stats import LEAST_FLOOR, latency, noise_floor, percentile, speedup
from edgekd.errors import MeasureError


def runs_of(seconds: NDArray[np.float64]) -> tuple[ProcessRun, ...]:
    """Processes x blocks x calls."""
    return tuple(
        ProcessRun(
            round=i,
            load_s=0.1,
            first_s=0.1,
            blocks_s=tuple(tuple(block) for block in process.tolist()),
            peak_memory_bytes=1,
        )
        for i, process in enumerate(seconds)
    )


def measured(c: Conditions, seconds: NDArray[np.float64], name: str = "a") -> Measurement:
    return Measurement("session", name, c, runs_of(seconds))


def test_constant_times_have_no_width(conditions: Conditions) -> None:
    fast = measured(conditions, np.full((6, 4, 5), 1e-3))
    slow = measured(conditions, np.full((6, 4, 5), 2e-3), "b")
    e = latency(fast)
    assert (e.value, e.low, e.high) == pytest.approx((1e-3,) * 3)
    assert e.n == 6
    e = speedup(slow, fast, floor=0.0)
    assert (e.value, e.low, e.high) == pytest.approx((2, 2, 2))
    e = speedup(slow, fast, floor=0.1)
    assert (e.value, e.low, e.high) == pytest.approx((2, 2 / 1.1, 2.2))


def test_three_processes_by_hand(conditions: Conditions) -> None:
    """Logs 0, 0.1, 0.2: mean 0.1, deviation 0.1, Student 4.303 for two degrees of freedom."""
    seconds = np.exp([0.0, 0.1, 0.2])[:, None, None] * np.ones((3, 4, 5))
    e = latency(measured(conditions, seconds))
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert np.log([e.value, e.low, e.high]) == pytest.approx([0.1, 0.1 - half, 0.1 + half])


def test_percentiles_are_over_the_calls_of_a_process(conditions: Conditions) -> None:
    calls = np.arange(1.0, 101.0).reshape(1, 10, 10)
    both = measured(conditions, np.concatenate([calls, calls * 4]))
    share = 0.9 * (100 + 1 / 3) + 1 / 3 - 90  # the position lies between the 90th and the 91st
    ninetieth = np.log(90) + share * (np.log(91) - np.log(90))
    assert percentile(both, 90).value == pytest.approx(2 * np.exp(ninetieth))
    assert latency(both) == percentile(both, 50)


def test_drift_that_hits_both_cancels(conditions: Conditions) -> None:
    drift = np.exp(np.random.default_rng(0).normal(0, 0.3, (6, 8, 1)))
    before = measured(conditions, 3e-3 * drift * np.ones(5))
    after = measured(conditions, 2e-3 * drift * np.ones(5), "b")
    e = speedup(before, after, floor=0.0)
    assert (e.value, e.low, e.high) == pytest.approx((1.5, 1.5, 1.5))
    assert latency(before).high / latency(before).low > 1.1


def test_the_inverse_has_the_inverse_interval_and_the_same_numbers_the_same(
    conditions: Conditions,
) -> None:
    noise = np.random.default_rng(0).lognormal(0, 0.1, (2, 6, 8, 5))
    a, b = measured(conditions, noise[0]), measured(conditions, noise[1], "b")
    e, back = speedup(a, b, floor=0.01), speedup(b, a, floor=0.01)
    assert (e.value, e.low) == pytest.approx((1 / back.value, 1 / back.high), rel=1e-2)
    assert speedup(a, b, floor=0.01) == e


def test_agreement_by_luck_is_not_trusted(conditions: Conditions) -> None:
    """Processes agree exactly, their blocks do not: the interval still has a width."""
    blocks = np.exp([-0.2, -0.1, 0.0, 0.1, 0.2])[None, :, None] * np.ones((6, 5, 3))
    e = speedup(measured(conditions, blocks), measured(conditions, blocks * 0 + 1, "b"), floor=0)
    assert e.low < 0.97
    assert e.high > 1.03


def test_equal_files_are_equally_fast_by_definition(conditions: Conditions) -> None:
    one = measured(conditions, np.full((6, 4, 5), 1e-3))
    other = measured(conditions, np.full((6, 4, 5), 2e-3))
    e = speedup(one, other, floor=0.2)
    assert (e.value, e.low, e.high) == (1, 1, 1)


def test_only_one_session_is_paired(conditions: Conditions) -> None:
    one = measured(conditions, np.full((6, 4, 5), 1e-3))
    late = replace(one, session="another", file_sha256="b")
    unlike = replace(one, conditions=replace(conditions, cpu="another"), file_sha256="b")
    for other in (late, unlike):
        with pytest.raises(MeasureError, match="only one interleaved session is paired"):
            speedup(one, other, floor=0.0)
    with pytest.raises(ValueError, match="floor"):
        speedup(one, one, floor=-0.1)


def test_setups_of_one_session_may_differ(conditions: Conditions) -> None:
    """How many threads pay is a question to a session; equal bytes are then no answer."""
    one = measured(conditions, np.full((6, 4, 5), 2e-3))
    two = replace(
        measured(conditions, np.full((6, 4, 5), 1e-3)), conditions=replace(conditions, threads=2)
    )
    assert speedup(one, two, floor=0.0).value == pytest.approx(2)


def test_one_process_gives_no_interval(conditions: Conditions) -> None:
    with pytest.raises(MeasureError, match="two processes"):
        latency(measured(conditions, np.ones((1, 4, 5))))


@pytest.mark.parametrize("n", [3, 6])
def test_95_percent_intervals_cover_about_95_percent(conditions: Conditions, n: int) -> None:
    generator = np.random.default_rng(1)
    hits, trials = 0, 300
    for _ in range(trials):
        offset = generator.normal(0, 0.05, (n, 1, 1))
        calls = np.exp(offset + generator.normal(0, 0.05, (n, 4, 9)))
        e = latency(measured(conditions, calls))
        hits += e.low <= 1 <= e.high
    assert 0.90 <= hits / trials <= 0.99


def test_speedup_covers_and_is_not_useless(conditions: Conditions) -> None:
    """Six processes, 3 % luck of each, 3 % noise of each block; the truth is 1.1x."""
    generator = np.random.default_rng(2)
    hits, proven, trials = 0, 0, 80
    for _ in range(trials):
        noise = generator.normal(0, 0.03, (2, 6, 1, 1)) + generator.normal(0, 0.03, (2, 6, 8, 1))
        before = measured(conditions, 1.1 * np.exp(noise[0]))
        after = measured(conditions, np.exp(noise[1]), "b")
        e = speedup(before, after, floor=0.01)
        hits += e.low <= 1.1 <= e.high
        proven += e.low > 1
    assert hits / trials >= 0.93
    assert proven / trials >= 0.6


def test_floor_is_what_equal_files_differ_by(conditions: Conditions) -> None:
    one = measured(conditions, np.full((6, 4, 5), 1e-3))
    twin = measured(conditions, np.full((6, 4, 5), 1.03e-3))

    def floor(first: Measurement, second: Measurement) -> float:
        return noise_floor(Session((first,), second, Timing()))

    assert floor(one, one) == LEAST_FLOOR
    assert floor(one, twin) == pytest.approx(0.03)
    assert floor(twin, one) == pytest.approx(0.03)

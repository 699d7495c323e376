from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.benchmarks.measurement import Conditions, Measurement, ProcessRun, Sample
from edgekd.benchmarks.stats import pair_steadiness, steadiness
from edgekd.benchmarks.trials.injected import CASES, Case, competed, count


def measured(c: Conditions, seconds: NDArray[np.float64], name: str = "a") -> Measurement:
    """Processes x blocks x calls, without samples."""
    runs = tuple(
        ProcessRun(
            round=i,
            load_s=0.1,
            first_s=0.1,
            blocks_s=tuple(tuple(block) for block in process.tolist()),
            peak_memory_bytes=1,
        )
        for i, process in enumerate(seconds)
    )
    return Measurement("session", name, c, runs)


def noisy(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.float64]:
    """Milliseconds with 1 % noise."""
    return 1e-3 * np.random.default_rng(seed).lognormal(0, 0.01, shape)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_put_in_is_found(case: Case) -> None:
    """The trial in small: `python -m edgekd.benchmarks.trials.injected` draws 200 of each."""
    found = count(case, 5, seed=1)
    if not case.found_as:
        assert found.steady >= 4
    else:
        assert found.steady == 0
        assert found.named >= 4


def test_constant_times_are_steady(conditions: Conditions) -> None:
    state = steadiness(measured(conditions, np.full((6, 8, 5), 1e-3)), floor=0.0)
    assert state.steady
    assert state.events == ()
    assert state.drift == pytest.approx(0)


def test_a_step_along_one_process_by_hand(conditions: Conditions) -> None:
    """40 blocks, from block 21 on a quarter slower; the last tenth against the first is drift."""
    seconds = noisy((1, 40, 10)) * np.where(np.arange(40) < 20, 1.0, 1.25)[None, :, None]
    state = steadiness(measured(conditions, seconds), floor=0.0)
    (event,) = state.events
    assert not state.steady
    assert event.kind == "step"
    assert event.size == pytest.approx(0.25, abs=0.02)
    assert event.at_s == pytest.approx(seconds[0, :20].sum())
    assert "from block 21 of 40 on calls were 25 % slower" in event.text
    assert state.drift == pytest.approx(0.25, abs=0.02)


def test_a_shift_below_the_floor_is_none(conditions: Conditions) -> None:
    seconds = noisy((1, 40, 10)) * np.where(np.arange(40) < 20, 1.0, 1.03)[None, :, None]
    assert not steadiness(measured(conditions, seconds), floor=0.0).steady
    assert steadiness(measured(conditions, seconds), floor=0.05).steady
    least = noisy((1, 40, 10)) * np.where(np.arange(40) < 20, 1.0, 1.006)[None, :, None]
    assert steadiness(measured(conditions, least), floor=0.0).steady  # below 1 %


def test_a_slow_start_is_a_warm_up(conditions: Conditions) -> None:
    seconds = noisy((6, 12, 10)) * np.where(np.arange(12) < 3, 1.5, 1.0)[None, :, None]
    state = steadiness(measured(conditions, seconds), floor=0.0)
    assert state.steady
    assert [event.kind for event in state.events] == ["warm-up"]
    assert state.steady_from == 3


def test_what_changes_alike_leaves_the_pair_steady(conditions: Conditions) -> None:
    """The machine slows down by half; both files see it, and their ratio does not."""
    slower = np.where(np.arange(6) < 3, 1.0, 1.5)[:, None, None]
    one = measured(conditions, noisy((6, 8, 10), 1) * slower)
    two = measured(conditions, noisy((6, 8, 10), 2) * slower, "b")
    assert not steadiness(one, floor=0.0).steady
    assert not steadiness(two, floor=0.0).steady
    assert pair_steadiness(one, two, floor=0.0).steady
    still = measured(conditions, noisy((6, 8, 10), 2), "b")
    assert not pair_steadiness(one, still, floor=0.0).steady


def test_throttling_is_told_by_the_clock_and_carried_to_the_pair(conditions: Conditions) -> None:
    hot = np.arange(8) >= 4
    seconds = noisy((6, 8, 10)) * np.where(hot, 1.25, 1.0)[None, :, None]
    plain = measured(conditions, seconds)
    runs = []
    for run in plain.runs:
        clocks = [3e9, *np.where(hot, 2.4e9, 3e9).tolist()]
        samples = tuple(
            Sample(at_s=float(i), own_s=0.0, clock_hz=clock) for i, clock in enumerate(clocks)
        )
        runs.append(replace(run, samples=samples))
    throttled = replace(plain, runs=tuple(runs))
    state = steadiness(throttled, floor=0.0)
    assert state.throttled
    assert not state.steady
    assert "the clock fell by 20 %" in " ".join(event.text for event in state.events)
    other = replace(throttled, file_sha256="b")
    assert pair_steadiness(throttled, other, floor=0.0).throttled
    assert not steadiness(plain, floor=0.0).throttled  # no clock, no such claim


def test_contention_by_hand(conditions: Conditions) -> None:
    """From block 21 of 40 on others have the core half of the time; the median call stays."""
    seconds = noisy((1, 40, 10))
    (run,) = measured(conditions, seconds).runs
    worked = seconds[0].sum(axis=1)
    elapsed = worked * np.where(np.arange(40) < 20, 1.0, 2.0)
    waited = replace(run, elapsed_s=tuple(elapsed.tolist()), cpu_s=tuple(worked.tolist()))
    state = steadiness(Measurement("session", "a", conditions, (waited,)), floor=0.0)
    (event,) = state.events
    assert not state.steady
    assert event.kind == "contention"
    assert event.size == pytest.approx(1.0, abs=0.01)
    assert event.text == "in 20 of 40 blocks other work took the core for 50 % of the time"
    pool = replace(conditions, threads=2)  # its threads sleep by themselves
    assert steadiness(Measurement("session", "a", pool, (waited,)), floor=0.0).steady
    now_and_then = worked * np.where(np.arange(40) % 20 == 0, 2.0, 1.0)
    seldom = replace(waited, elapsed_s=tuple(now_and_then.tolist()))
    assert steadiness(Measurement("session", "a", conditions, (seldom,)), floor=0.0).steady


def test_two_processes_show_nothing(conditions: Conditions) -> None:
    state = steadiness(measured(conditions, np.full((2, 8, 5), 1e-3)), floor=0.0)
    assert (state.steady, state.enough) == (False, False)


@pytest.mark.timing
def test_a_real_competitor_is_noticed() -> None:
    state = competed(load=True)
    assert not state.steady
    assert "contention" in {event.kind for event in state.events}

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgekd.benchmarks.history.across import compare_across, speedup_across
from edgekd.benchmarks.history.comparison import Comparison
from edgekd.benchmarks.history.store import History
from edgekd.benchmarks.measurement import Conditions
from edgekd.benchmarks.result import BenchResult
from edgekd.benchmarks.stats import Estimate

Save = Callable[..., Path]
Timed = Callable[..., BenchResult]

LOGS = (0.0, 0.02, -0.02)  # mean 0, standard deviation 0.02


def sessions(logs: Sequence[float]) -> list[Estimate]:
    return [Estimate(math.exp(x), math.exp(x), math.exp(x), 6) for x in logs]


def at(log: float, deviation: float = 0.0) -> Estimate:
    """A session of 6 processes whose mean is known to `deviation`; t for 5 degrees is 2.571."""
    half = 2.571 * deviation
    return Estimate(math.exp(log), math.exp(log - half), math.exp(log + half), 6)


def test_worked_out_by_hand() -> None:
    # t for 2 degrees is 4.303; sqrt(1 + 1/3) = 1.1547: 4.303 * 0.02 * 1.1547 = 0.09937
    gain = speedup_across(sessions(LOGS), at(0.15), floor=0.01)
    half = 0.09937 + math.log(1.01)
    assert math.log(gain.value) == pytest.approx(-0.15)
    assert math.log(gain.low) == pytest.approx(-0.15 - half, abs=1e-4)
    assert math.log(gain.high) == pytest.approx(-0.15 + half, abs=1e-4)
    assert gain.n == 3
    assert gain.high < 1
    assert speedup_across(sessions(LOGS), at(0.10), floor=0.01).high > 1  # 0.1 < 0.1093
    assert speedup_across(sessions(LOGS), at(-0.15), floor=0.01).low > 1


def test_today_may_be_less_sure_than_the_sessions_differ() -> None:
    gain = speedup_across(sessions([0, 0, 0]), at(0.1, deviation=0.03), floor=0)
    assert math.log(gain.high) == pytest.approx(-0.1 + 4.303 * 0.03 * 1.1547, abs=1e-4)


def test_two_sessions_say_nothing_of_their_spread() -> None:
    with pytest.raises(ValueError, match="got 2 stored sessions; 3 are needed"):
        speedup_across(sessions([0, 0.01]), at(0), floor=0)


@pytest.mark.parametrize("stored", [3, 6, 20])
def test_a_next_session_lies_inside_in_95_per_cent(stored: int) -> None:
    generator = np.random.default_rng(stored)
    logs = generator.normal(0, 0.03, (2000, stored + 1))
    gains = [speedup_across(sessions(row[1:]), at(row[0]), floor=0) for row in logs]
    inside = np.mean([gain.low <= 1 <= gain.high for gain in gains])
    assert 0.935 < inside < 0.965


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "h.sqlite")


def compared(history: History, file: Path, today: BenchResult, *, equal: bool) -> Comparison:
    entries = history.entries("main")
    (row,) = compare_across(file, entries[-1].rows, today, entries, equal=equal)
    return row


def processes(log: float) -> list[float]:
    return [1e-3 * math.exp(log + wobble) for wobble in (-0.001, 0.001, 0, 0.002, -0.002, 0)]


def test_a_new_runtime_that_is_slower(
    history: History, chain: Save, timed: Timed, conditions: Conditions
) -> None:
    model = chain("m.onnx")
    old = replace(conditions, runtime="onnxruntime 1.30.0")
    new = replace(conditions, runtime="onnxruntime 1.31.1")
    slow = timed((model, processes(0.2)), at=new)
    for number, log in enumerate(LOGS):
        if number:
            row = compared(history, model, slow, equal=True)
            assert row.verdict == "undecided"
            assert f"{number} steady stored session" in row.reason
            assert "3 needed" in row.reason
            assert row.speedup is None
        history.store(timed((model, processes(log)), at=old), name="main")
    row = compared(history, model, slow, equal=True)
    assert (row.verdict, row.method) == ("slower", "across sessions")
    assert row.reason == "onnxruntime 1.30.0 then, onnxruntime 1.31.1 now"
    assert row.before_s is not None
    assert row.before_s.value == pytest.approx(1e-3, rel=0.01)
    same = timed((model, processes(0.03)), at=new)
    assert compared(history, model, same, equal=True).verdict == "no difference"
    fast = timed((model, processes(-0.2)), at=new)
    assert compared(history, model, fast, equal=True).verdict == "faster"
    # a session under the new runtime counts for itself alone
    history.store(timed((model, processes(0)), at=new), name="main")
    assert compared(history, model, slow, equal=True).verdict == "unchanged"
    assert "1 steady stored session," in compared(history, model, slow, equal=False).reason


def test_another_machine_is_never_slower(
    history: History, chain: Save, timed: Timed, conditions: Conditions
) -> None:
    model = chain("m.onnx")
    for log in LOGS:
        history.store(timed((model, processes(log))), name="main")
    slow = timed((model, processes(2)), at=replace(conditions, cpu="a slow one"))
    row = compared(history, model, slow, equal=True)
    assert (row.verdict, row.method, row.speedup) == ("undecided", "none", None)
    assert "another machine (local, test, test; now local, a slow one, test)" in row.reason


def test_a_file_too_large_to_keep(
    history: History, chain: Save, timed: Timed, conditions: Conditions
) -> None:
    small = replace(history, most_bytes=1000)
    old, new = chain("m.onnx"), chain("n.onnx", layers=3)
    for log in LOGS:
        small.store(timed((old, processes(log))), name="main")
    row = compared(small, new, timed((new, processes(0.3))), equal=False)
    assert (row.verdict, row.stored) == ("slower", "m.onnx")
    assert row.reason == "the stored file is larger than 0.001 MB and was not kept"
    two = replace(conditions, threads=2)
    row = compared(small, new, timed((new, processes(0.3)), at=two), equal=False)
    assert row.verdict == "undecided"
    assert "not timed in this setup" in row.reason

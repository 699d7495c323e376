from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.benchmarks.stats.estimate import Estimate
from edgekd.benchmarks.trials.overhead import Overhead, overhead


def cost(inside_s: float, around_s: float) -> Overhead:
    inside, around = (Estimate(s, s, s, 3) for s in (inside_s, around_s))
    return Overhead(5e-5, inside, around)


def test_both_costs_are_under_a_microsecond_or_it_fails() -> None:
    assert cost(9e-8, 5e-7).holds
    assert not cost(1.1e-6, 5e-7).holds
    assert not cost(9e-8, 1.1e-6).holds


@pytest.mark.timing
def test_the_harness_costs_little(tmp_path: Path) -> None:
    """Other work on the machine lies between calls as well: a tenth of the model is allowed."""
    found = overhead(tmp_path, rounds=3, blocks=4)
    assert 1e-5 < found.latency_s < 1e-3
    assert 0 < found.inside_s.value < 1e-6
    assert 0 < found.around_s.value < 0.1 * found.latency_s


@pytest.mark.slow
@pytest.mark.timing
def test_strictly(tmp_path: Path) -> None:
    found = overhead(tmp_path, rounds=12, blocks=10)
    assert found.holds
    assert found.inside_s.high < 1e-6
    assert found.around_s.high < 1e-6

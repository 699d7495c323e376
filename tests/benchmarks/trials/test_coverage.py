from __future__ import annotations

import numpy as np
import pytest

from edgekd.benchmarks.trials.coverage import DISTRIBUTIONS, coverage


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_intervals_hold_the_truth_in_95_per_cent(name: str) -> None:
    """400 trials: 95 % give or take three standard errors of 1.1 %; 2,000 are in results."""
    for found in coverage(name, 100, trials=400):
        assert 0.917 <= found.share <= 0.983, found


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_stated_truth_is_what_is_drawn(name: str) -> None:
    draw, quantile = DISTRIBUTIONS[name]
    calls = draw(np.random.default_rng(0), 2000, 200)
    for p in (0.5, 0.9):
        typical = np.exp(np.log(np.quantile(calls, p, axis=1)).mean())
        assert typical == pytest.approx(quantile(p), rel=0.02)

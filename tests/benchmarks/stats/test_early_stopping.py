from __future__ import annotations

import math

import numpy as np
import pytest

from edgekd.benchmarks.stats.early_stopping import dropped, percentile_bound


@pytest.mark.parametrize(
    ("queries", "published"),
    [
        (553_349, 54_814),
        (60_476, 5_875),
        (935_541, 92_878),
        (135_443, 13_286),
        (79_283, 7_730),
        (38_907, 3_752),
    ],
)
def test_six_published_results_of_loadgen(queries: int, published: int) -> None:
    """Queries and dropped queries of p90 in logs that were submitted to MLPerf."""
    assert dropped(queries, 0.9) == published


@pytest.mark.parametrize(("percentile", "least"), [(0.9, 64), (0.99, 662)])
def test_fewer_calls_than_the_rules_ask_say_nothing(percentile: float, least: int) -> None:
    assert dropped(least - 1, percentile) is None
    assert dropped(least, percentile) == 0
    assert percentile_bound(np.ones(least - 1), percentile) is None


@pytest.mark.parametrize("queries", [100, 300, 1000])
def test_it_is_the_definition(queries: int) -> None:
    """The largest t whose binomial tail is at most 1 %, summed the long way."""
    tail, t = 0.0, -1
    for k in range(queries):
        tail += math.comb(queries, k) * 0.1**k * 0.9 ** (queries - k)
        if tail > 0.01:
            break
        t = k
    assert dropped(queries, 0.9) == t - 1


def test_the_bound_is_what_is_left_and_lies_above_the_percentile() -> None:
    seconds = np.random.default_rng(0).permutation(np.arange(1.0, 1001.0))
    count = dropped(1000, 0.9)
    assert count is not None
    assert percentile_bound(seconds, 0.9) == 1000 - count
    assert percentile_bound(seconds, 0.9) > np.percentile(seconds, 90)


@pytest.mark.parametrize(("queries", "percentile"), [(0, 0.9), (10, 0.0), (10, 1.0)])
def test_nonsense_is_refused(queries: int, percentile: float) -> None:
    with pytest.raises(ValueError, match="got"):
        dropped(queries, percentile)

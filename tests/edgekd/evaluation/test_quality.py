"""Quality with its uncertainty, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgekd.evaluation.quality import (
    count_needed_samples,
    estimate,
    estimate_gain,
    expected_interval,
    matched_difference,
    recentred,
    wilson,
)
from edgekd.evaluation.reduced import Reduced
from edgekd.tasks.classification import Classification, calibration_error, worst_class
from edgekd.tasks.regression import Regression
from edgekd.tasks.task import Metric

TOP1 = Classification.metrics[0]


def answers(said: list[int], truth: list[int]) -> Reduced:
    """Sure answers among three classes, of a model that is its own teacher."""
    logits = {"logits": 10.0 * np.eye(3, dtype=np.float32)[said]}
    task = Classification()
    reference = task.reference(logits)
    arrays = task.reduce(logits, {"label": np.array(truth)}, reference)
    return Reduced(arrays, np.arange(len(said)), reference)


def test_wilson_by_hand() -> None:
    low, high = wilson(80, 100)
    assert low == pytest.approx(0.7112, abs=5e-5)  # Wilson 1927, p = 0.8, n = 100
    assert high == pytest.approx(0.8666, abs=5e-5)
    assert wilson(0, 10)[0] == 0.0
    assert wilson(10, 10)[1] == pytest.approx(1.0)
    assert wilson(10, 10)[0] == pytest.approx(10 / (10 + 3.8415), abs=1e-4)


def test_matched_difference_by_hand() -> None:
    # 8 gained, 2 lost of 100: (8.5 - 2.5) / 102 +- 1.96 sqrt(11 - 36 / 102) / 102
    low, high = matched_difference(8, 2, 100)
    assert (low + high) / 2 == pytest.approx(6 / 102)
    assert (high - low) / 2 == pytest.approx(1.959964 * np.sqrt(11 - 36 / 102) / 102, rel=1e-6)
    low, high = matched_difference(0, 0, 100)
    assert low < 0 < high  # no change seen is no certainty of none


def test_no_hit_at_all_is_no_certainty_of_none() -> None:
    wrong = answers([1, 2, 0, 1], [0, 0, 1, 0])
    found = estimate(TOP1, wrong)
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(100 * wilson(0, 4)[1]) == pytest.approx(48.99, abs=0.01)
    same = estimate_gain(TOP1, wrong, wrong)
    assert (same.low, same.high) == pytest.approx([100 * x for x in matched_difference(0, 0, 4)])
    share = Metric("found", "", values=lambda reduced: np.zeros(4))
    assert estimate(share, wrong).high == pytest.approx(wilson(0, 4)[1])


def test_top1_and_its_interval() -> None:
    said = answers([0, 1, 2, 0], [0, 1, 1, 0])
    found = estimate(TOP1, said)
    assert found.value == 75.0
    assert (found.low, found.high) == pytest.approx([100 * x for x in wilson(3, 4)])


def test_gain_is_paired_and_signed() -> None:
    truth = [0, 1, 2, 0, 1, 2]
    before, after = answers([0, 1, 2, 0, 0, 0], truth), answers([0, 1, 2, 1, 1, 0], truth)
    found = estimate_gain(TOP1, after, before)
    assert found.value == pytest.approx(0.0)  # one gained, one lost
    assert found.low < 0 < found.high
    worse = estimate_gain(TOP1, answers([1, 1, 2, 1, 0, 0], truth), before)
    assert worse.value == pytest.approx(-100 * 2 / 6)


def test_a_metric_that_is_better_lower_gains_by_falling() -> None:
    error = Metric("error", "", values=lambda reduced: reduced["error"], better="lower")
    two = [
        Reduced({"error": np.array(values)}, np.arange(4))
        for values in ([1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0])
    ]
    assert estimate_gain(error, two[0], two[1]).value == pytest.approx(1.0)


def test_worst_class_ignores_classes_that_are_absent() -> None:
    said = answers([0, 0, 1, 1], [0, 0, 1, 0])
    assert worst_class(said.arrays) == pytest.approx(200 / 3)


def test_calibration_error_by_hand() -> None:
    # two answers, 75 % sure each, one right: |0.5 - 0.75| = 25 %
    logits = {"logits": np.log(np.array([[0.75, 0.25], [0.75, 0.25]]))}
    task = Classification()
    reduced = task.reduce(logits, {"label": np.array([0, 1])}, task.reference(logits))
    assert calibration_error(reduced) == pytest.approx(25.0)


@pytest.mark.parametrize("n", [1000])
def test_the_paired_interval_holds_the_truth(n: int) -> None:
    """Coverage of the matched-pairs interval over simulated models, 1 % lost in truth."""
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        kind = rng.choice(3, size=n, p=[0.96, 0.015, 0.025])
        low, high = matched_difference(int((kind == 1).sum()), int((kind == 2).sum()), n)
        hits += low <= -0.01 <= high
    assert 0.92 <= hits / 400 <= 0.99


def test_samples_needed_for_a_budget() -> None:
    assert count_needed_samples(1.0) == 542  # 1.645^2 * 0.02 / 0.01^2, rounded up
    assert count_needed_samples(2.0) == 136
    assert count_needed_samples(0.0) == 0


def test_the_interval_expected_of_few_samples_is_that_of_matched_pairs() -> None:
    low, high = matched_difference(50, 50, 5000)  # 2 % of the answers changed
    assert expected_interval(5000) == pytest.approx((high - low) / 2, rel=0.02)
    assert 100 * expected_interval(60) == pytest.approx(3.58, abs=0.01)


def test_the_interval_of_a_ratio_contains_its_value_by_hand() -> None:
    # resamples at 1, 2, ..., 41 around 21, whose value is 50: all of them move up by 29
    assert recentred(np.arange(1.0, 42.0), 50.0) == pytest.approx((31.0, 69.0))


def _r2(answer: np.ndarray, truth: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """R2 of resamples [draws, n], the mean over the values."""
    picked, said = truth[rows], answer[rows]
    error = ((picked - said) ** 2).sum(axis=1)
    spread = ((picked - picked.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    return np.asarray((1 - error / spread).mean(axis=1))


@pytest.mark.parametrize(
    ("slope", "noise", "true", "before"),
    [(0.0, 0.02, -0.0004, 0.3), (1.0, 0.3, 0.91, 0.95)],
)
def test_the_interval_of_an_r2_holds_the_truth(
    slope: float, noise: float, true: float, before: float
) -> None:
    """Coverage for 30 samples of four values, of a model that knows nothing and of a good one."""
    rng = np.random.default_rng(0)
    plain = moved = 0
    for _ in range(150):
        truth = rng.normal(size=(30, 4))
        answer = slope * truth + noise * rng.normal(size=truth.shape)
        (value,) = _r2(answer, truth, np.arange(30)[None])
        drawn = _r2(answer, truth, rng.integers(0, 30, (200, 30)))
        low, high = np.quantile(drawn, [0.025, 0.975])
        plain += low <= true <= high
        low, high = recentred(drawn, float(value))
        moved += low <= true <= high
        assert low <= value <= high
    assert plain / 150 < before
    assert moved / 150 > 0.9


def test_intervals_of_r2_and_worst_class_stay_in_their_range() -> None:
    said = answers([0, 1, 2, 0, 1, 2, 0, 0], [0, 1, 2, 0, 1, 2, 1, 0])
    found = estimate(Classification.metrics[1], said)
    assert 0 <= found.low <= found.value <= found.high <= 100
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(30, 16))
    arrays = {"answer": 0.02 * rng.normal(size=truth.shape), "value": truth}
    r2 = estimate(Regression.metrics[0], Reduced(arrays, np.arange(30)))
    assert r2.low <= r2.value <= r2.high <= 100

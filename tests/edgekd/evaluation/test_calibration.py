"""Calibration error and temperature against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgekd.evaluation.calibration import (
    Bin,
    calibration_error,
    fit_temperature,
    negative_log_likelihood,
    sort_into_bins,
)
from edgekd.tasks import classification


def test_the_error_is_the_mean_distance_of_confidence_and_accuracy() -> None:
    confidence = np.array([0.99, 0.97, 0.5, 0.5, 0.5, 0.5])
    right = np.array([True, False, True, False, False, False])
    low, high = bins = sort_into_bins(confidence, right)
    assert low == Bin(low=7 / 15, high=8 / 15, samples=4, confidence=0.5, accuracy=0.25)
    assert (high.high, high.samples, high.accuracy) == (1.0, 2, 0.5)
    # (4 * |0.25 - 0.5| + 2 * |0.5 - 0.98|) / 6
    assert calibration_error(bins) == pytest.approx(100 * (1.0 + 0.96) / 6)


def test_it_is_the_metric_of_the_task() -> None:
    rng = np.random.default_rng(0)
    confidence = np.r_[rng.uniform(0, 1, 500), 0.0, 1.0]
    answer, label = rng.integers(0, 3, (2, 502))
    kept = {"confidence": confidence, "answer": answer, "label": label}
    own = calibration_error(sort_into_bins(confidence, answer == label))
    assert own == pytest.approx(classification.calibration_error(kept))


def test_two_scores_have_a_temperature_by_hand() -> None:
    """Of 100 samples with scores (4, 0), 90 are of class 0: sigmoid(4 / T) = 0.9."""
    logits = np.tile([4.0, 0.0], (100, 1))
    label = (np.arange(100) >= 90).astype(np.int64)
    found = fit_temperature(logits, label)
    assert found is not None
    assert found.value.value == pytest.approx(4 / math.log(9))
    assert found.value.n == 100
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert found.nll_after == pytest.approx(entropy)
    assert found.nll_before == pytest.approx(0.9 * math.log1p(math.exp(-4)) + 0.1 * (4 + 0.01815))
    assert found.error_before == pytest.approx(100 * (1 / (1 + math.exp(-4)) - 0.9))
    assert found.error_after == pytest.approx(0, abs=1e-6)
    # log odds 4 b have the variance 1 / (n p (1 - p)); b has it over 16, log b over b squared
    deviation = 1 / math.sqrt(100 * 0.09) / (4 / found.value.value)
    assert found.value.high == pytest.approx(found.value.value * math.exp(1.959964 * deviation))
    assert found.value.low == pytest.approx(found.value.value**2 / found.value.high)
    assert found.matters


def test_scores_of_known_odds_have_the_temperature_that_they_were_multiplied_by() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(0, 2, (4000, 5))
    chance = np.exp(true) / np.exp(true).sum(axis=1, keepdims=True)
    label = (rng.random((4000, 1)) > chance.cumsum(axis=1)).sum(axis=1).clip(0, 4)
    for factor in (0.3, 1.0, 7.0):
        found = fit_temperature(factor * true, label)
        assert found is not None
        assert found.value.low < factor < found.value.high
        assert found.value.high / found.value.low < 1.2
        nearby = [negative_log_likelihood(factor * true / t, label) for t in (0.9, 1.1)]
        if factor != 1.0:
            assert found.nll_after < found.nll_before
            assert found.matters
        assert found.nll_after <= min(nearby)


def test_there_is_none_where_the_likelihood_has_no_maximum() -> None:
    eye = np.eye(3)[np.arange(30) % 3]
    label = np.arange(30) % 3
    assert fit_temperature(eye, label) is None  # the surer the better
    assert fit_temperature(eye, (label + 1) % 3) is None  # the less sure the better
    assert fit_temperature(np.zeros((30, 3)), label) is None


def test_rows_of_one_sample_count_as_one() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 3, (200, 2))
    label = (rng.random(200) < 0.3).astype(np.int64) ^ logits.argmax(axis=1)
    alone = fit_temperature(logits, label)
    doubled = fit_temperature(np.repeat(logits, 4, axis=0), np.repeat(label, 4), per_sample=4)
    assert alone is not None
    assert doubled is not None
    for end in ("value", "low", "high", "n"):
        assert getattr(doubled.value, end) == pytest.approx(getattr(alone.value, end))

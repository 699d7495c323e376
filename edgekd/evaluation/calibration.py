"""Whether confidence is deserved: calibration error by bins, and the temperature that mends it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.quality import Z95
from edgekd.tasks.classification import softmax

BINS = 15
"""Of equal width, as in Guo et al. 2017; the task's own metric has as many."""
_LEAST, _MOST = 0.02, 50.0
"""Temperatures beyond these say that there is none: the likelihood has no inner maximum."""
_TURNS = 100


@dataclass(frozen=True, kw_only=True)
class Bin:
    """The samples whose confidence lies from `low` to `high`."""

    low: float
    high: float
    samples: int
    confidence: float
    """Their mean confidence, from 0 to 1."""
    accuracy: float
    """The share of them that is right."""


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """The number that divides all class scores so that the labels are most probable."""

    value: Estimate
    nll_before: float
    """Mean negative log-likelihood of the labels, in nats."""
    nll_after: float
    error_before: float
    """Expected calibration error, in percent."""
    error_after: float

    @property
    def matters(self) -> bool:
        """Whether its interval leaves out 1 and the error falls by it."""
        return not self.value.low <= 1 <= self.value.high and self.error_after < self.error_before


def sort_into_bins(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    """Return the bins of equal width that have samples, the lowest first.

    Args:
        confidence: probability of the answer, from 0 to 1, [n].
        right: whether it is the label, [n].
    """
    slot = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        Bin(
            low=i / BINS,
            high=(i + 1) / BINS,
            samples=int((slot == i).sum()),
            confidence=float(confidence[slot == i].mean()),
            accuracy=float(right[slot == i].mean()),
        )
        for i in map(int, np.unique(slot))
    )


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """Return the mean distance of confidence and accuracy over samples, in percent."""
    n = sum(one.samples for one in bins)
    return 100.0 * sum(one.samples * abs(one.accuracy - one.confidence) for one in bins) / n


def negative_log_likelihood(logits: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Return the mean of -log softmax(logits)[label] over rows [n, classes], in nats."""
    return float((_log_sum(logits) - logits[np.arange(len(label)), label]).mean())


def fit_temperature(
    logits: NDArray[np.float64], label: NDArray[np.int64], *, per_sample: int = 1
) -> Temperature | None:
    """Return the temperature at which the labels are most probable (Guo et al. 2017, section 4.2).

    The likelihood is concave in 1 / T, so that Newton's method finds its one maximum. The interval
    is that of an M-estimator: variance of the slopes over the curvature squared, in log T.

    Args:
        logits: class scores [rows, classes]; a column of zeros beside one score makes a yes or no.
        label: the class of each row.
        per_sample: rows of one sample, which are not independent of each other; they come together.

    Returns:
        None where there is no such temperature: every answer is right, so that the surest is the
        most probable, or no better than a guess, so that the least sure is.
    """
    logits = np.asarray(logits, np.float64)
    found = _newton(logits, label)
    if found is None:
        return None
    slope, curvature = _slopes(logits, label, found)
    by_sample = slope.reshape(-1, per_sample).mean(axis=1)
    deviation = math.sqrt(float(by_sample.var()) / len(by_sample)) / float(curvature.mean())
    factor = math.exp(min(Z95 * deviation / found, math.log(_MOST)))
    before, after = (softmax(logits * beta) for beta in (1.0, found))
    return Temperature(
        value=Estimate(1 / found, 1 / found / factor, factor / found, len(by_sample)),
        nll_before=negative_log_likelihood(logits, label),
        nll_after=negative_log_likelihood(logits * found, label),
        error_before=_error(before, label),
        error_after=_error(after, label),
    )


def _newton(logits: NDArray[np.float64], label: NDArray[np.int64]) -> float | None:
    """Return 1 / T, by Newton's method within a bracket that halves where it leaves it."""
    low, high = 1 / _MOST, 1 / _LEAST
    at_low, at_high = (float(_slopes(logits, label, end)[0].mean()) for end in (low, high))
    if at_low >= 0 or at_high <= 0:
        return None
    beta = 1.0
    for _ in range(_TURNS):
        slope, curvature = (float(x.mean()) for x in _slopes(logits, label, beta))
        low, high = (beta, high) if slope < 0 else (low, beta)
        step = beta - slope / curvature if curvature > 0 else low
        new = step if low < step < high else math.sqrt(low * high)
        if abs(new - beta) <= 1e-9 * beta:
            return new
        beta = new
    return beta


def _slopes(
    logits: NDArray[np.float64], label: NDArray[np.int64], beta: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return first and second derivative of each row's -log probability by 1 / T."""
    p = softmax(logits * beta)
    mean = (p * logits).sum(axis=1)
    spread = (p * np.square(logits - mean[:, None])).sum(axis=1)
    return mean - logits[np.arange(len(label)), label], spread


def _error(probability: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    answer = probability.argmax(axis=1)
    return calibration_error(sort_into_bins(probability.max(axis=1), answer == label))


def _log_sum(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    top = logits.max(axis=1)
    return np.asarray(top + np.log(np.exp(logits - top[:, None]).sum(axis=1)))

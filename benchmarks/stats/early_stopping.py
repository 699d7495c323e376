"""MLPerf's early-stopping estimate of a percentile: an upper bound, not the percentile itself.

Of q calls, how many slow ones may be dropped so that, with confidence 0.99, at most a share 1 - p
of all future calls is slower than the slowest that is left (mlcommons/inference_policies,
inference_rules.adoc, appendix "Early stopping"; loadgen/early_stopping.cc with tolerance 0). It
takes calls as independent, which is loadgen's assumption and not ours: see `estimate.py`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.99


def dropped(queries: int, percentile: float) -> int | None:
    """Return how many of the slowest calls are left out of account.

    That is t - 1 for the largest t with BinomCDF(t; queries, 1 - percentile) <= 1 - confidence.

    Args:
        queries: the number of calls, >= 1.
        percentile: 0.9 or 0.99, between 0 and 1.

    Returns:
        None: there are too few calls for any statement (64 for 0.9, 662 for 0.99 are needed).
    """
    if queries < 1 or not 0 < percentile < 1:
        raise ValueError(f"got {queries} calls and percentile {percentile}")
    slow = 1 - percentile
    mean, deviation = queries * slow, math.sqrt(queries * slow * percentile)
    first = max(0, math.floor(mean - 12 * deviation) - 12)  # below it lies less than 1e-30
    last = min(queries, math.ceil(mean))  # the answer lies below the mean
    pmf = [
        math.exp(
            math.lgamma(queries + 1)
            - math.lgamma(k + 1)
            - math.lgamma(queries - k + 1)
            + k * math.log(slow)
            + (queries - k) * math.log(percentile)
        )
        for k in range(first, last + 1)
    ]
    fitting = np.flatnonzero(np.cumsum(pmf) <= 1 - CONFIDENCE)
    largest = first + int(fitting[-1]) if len(fitting) else -1
    return largest - 1 if largest >= 1 else None


def percentile_bound(seconds: ArrayLike, percentile: float) -> float | None:
    """Return the early-stopping estimate in seconds; None: too few calls.

    Args:
        seconds: of every call.
        percentile: 0.9 or 0.99.
    """
    ordered = np.sort(np.asarray(seconds, np.float64))
    count = dropped(len(ordered), percentile)
    return None if count is None else float(ordered[len(ordered) - 1 - count])

"""Quantiles of Student's distribution, exact for whole degrees of freedom."""

from __future__ import annotations

import math
from functools import cache

HALVINGS = 60


@cache
def student_quantile(error: float, degrees: int) -> float:
    """Return t so that |T| > t has probability `error`, for whole degrees of freedom.

    The distribution function is the finite sum of M. Abramowitz, I. Stegun, "Handbook of
    Mathematical Functions", 1964, formulas 26.7.3 and 26.7.4; it is inverted by halving.

    Args:
        error: of both sides together, between 0 and 1; 0.05 gives the 95 % interval.
        degrees: of freedom, >= 1.
    """
    if not 0 < error < 1 or degrees < 1:
        raise ValueError(f"got error {error} and {degrees} degrees of freedom")
    low, high = 0.0, math.pi / 2  # of atan(t / sqrt(degrees))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - _share_within(middle, degrees) > error else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _share_within(angle: float, degrees: int) -> float:
    """Return the probability of |T| < t, with t = sqrt(degrees) tan(angle)."""
    cosine = math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0 if degrees == 1 else term
    for k in range(2 + odd, degrees - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total

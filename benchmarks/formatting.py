"""Format measured numbers: no more digits than the interval supports."""

from __future__ import annotations

import math

from edgekd.benchmarks.stats import Estimate


def milliseconds(estimate: Estimate) -> str:
    """Write seconds as "1.23 ms [1.20, 1.26]"."""
    value, low, high = (1e3 * x for x in (estimate.value, estimate.low, estimate.high))
    digits = decimals(value, high - low)
    return f"{value:.{digits}f} ms [{low:.{digits}f}, {high:.{digits}f}]"


def times(estimate: Estimate) -> str:
    """Write a ratio as "1.85x [1.80, 1.90]"."""
    if estimate.low == estimate.value == estimate.high:
        return f"{estimate.value:.2f}x"
    digits = max(2, decimals(estimate.value, estimate.high - estimate.low))
    return f"{estimate.value:.{digits}f}x [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]"


def megabytes(size_bytes: int) -> str:
    """Write bytes as "13.5 MB", decimal."""
    return f"{size_bytes / 1e6:.{2 if size_bytes < 1e7 else 1}f} MB"


def short(seconds: float) -> str:
    """Milliseconds in three significant digits."""
    return significant(1e3 * seconds)


def significant(value: float) -> str:
    """Write a value in two or three significant digits."""
    return f"{value:.{decimals(value, value / 10)}f}"


def decimals(value: float, width: float) -> int:
    """Decimals so that an interval of this width shows one or two digits of itself, 0 to 6."""
    scale = max(width, abs(value) * 1e-3)
    return 2 if scale <= 0 else min(6, max(0, 1 - math.floor(math.log10(scale))))

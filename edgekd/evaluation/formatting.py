"""Format figures with their interval, and no more digits than it supports."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgekd.benchmarks.stats import Estimate
from edgekd.exporters.file_facts import OnnxFacts

NOT_MEASURED = "not measured"


def seconds(value: float) -> str:
    """Return a time."""
    if value < 1e-3:
        return f"{value * 1e6:.3g} µs"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def size(value: float) -> str:
    """Return bytes (powers of 1,000)."""
    if value < 1e6:
        return f"{value / 1e3:.3g} kB"
    return f"{value / 1e6:.3g} MB" if value < 1e9 else f"{value / 1e9:.3g} GB"


def ratio(value: float) -> str:
    """Return a ratio of sizes."""
    return f"{value:.0f}x" if value >= 10 else f"{value:.1f}x" if value >= 1.05 else f"{value:.2f}x"


def interval(estimate: Estimate | None, *, of: Callable[[float], str] = "{:.1f}".format) -> str:
    """Return 'value [low, high]', or that it was not measured."""
    if estimate is None:
        return NOT_MEASURED
    return f"{of(estimate.value)} [{of(estimate.low)}, {of(estimate.high)}]"


def latency_text(estimate: Estimate | None) -> str:
    """Return a latency with its interval in one unit."""
    if estimate is None:
        return NOT_MEASURED
    scale, unit = (1e6, "µs") if estimate.value < 1e-3 else (1e3, "ms")
    digits = 0 if unit == "µs" and estimate.value >= 1e-4 else 2 if unit == "ms" else 1
    low, high = (f"{end * scale:.{digits}f}" for end in (estimate.low, estimate.high))
    return f"{estimate.value * scale:.{digits}f} {unit} [{low}, {high}]"


def per_sample(estimate: Estimate | None, samples: int) -> str:
    """Return ", 4 samples a call: 3.2 µs each", or nothing for a single sample."""
    if samples == 1 or estimate is None:
        return ""
    return f", {samples} samples a call: {seconds(estimate.value / samples)} each"


def int8_share(facts: OnnxFacts) -> str:
    """Return how much of a file is in INT8: of the arithmetic, and of the weights; or ""."""
    if facts.int8_share is None or facts.int8_bytes_share is None:
        return ""
    macs, weights = (f"{100 * s:.0f} %" for s in (facts.int8_share, facts.int8_bytes_share))
    if not facts.int8_share:
        return f"weights only, {weights} of their bytes" if facts.int8_bytes_share else "none"
    return f"{macs} of MACs, {weights} of weight bytes"


def decimals(width: float) -> int:
    """Return how many decimals an interval of this width deserves: 1 to 4."""
    return 1 if width <= 0 else min(4, max(1, -math.floor(math.log10(width))))


def quality(estimate: Estimate) -> str:
    """Return a metric with its interval."""
    digits = decimals(estimate.high - estimate.low)
    return interval(estimate, of=f"{{:.{digits}f}}".format)


def difference(estimate: Estimate) -> str:
    """Return a difference of a metric, without its sign, with its interval."""
    digits = max(2, decimals(estimate.high - estimate.low))
    return interval(estimate, of=f"{{:.{digits}f}}".format)


def change(estimate: Estimate) -> str:
    """Return a gain with its sign and its interval; negative is a loss."""
    digits = max(2, decimals(estimate.high - estimate.low))
    return interval(estimate, of=f"{{:+.{digits}f}}".format)


def times(estimate: Estimate | None) -> str:
    """Return a speed-up with its interval; equal by definition has none."""
    if estimate is None:
        return NOT_MEASURED
    value, low, high = (f"{end:.2f}" for end in (estimate.value, estimate.low, estimate.high))
    return f"{value}x" if low == high else f"{value}x [{low}, {high}]"

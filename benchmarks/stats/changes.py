"""Change points and ramps in a short noisy series, by Student's t with honest error bars.

Three models are held against "one level all the way": a step, after which the rest of the series
lies on another level; a pulse, where only a part in the middle does (circular binary segmentation,
A. Olshen et al., Biostatistics 5(4), 2004); and a ramp. Each is tried at its most significant
place, its p-value times the number of places (Bonferroni). A permutation test would need no
Student, but six rounds have too few permutations for it.

Three corrections keep the error bars honest:

* few values know little of their own noise: their variance is pooled with a prior worth a few
  degrees of freedom (moderated t; G. Smyth, Statistical Applications in Genetics and Molecular
  Biology 3(1), 2004);
* neighbours resemble each other: a mean of m values is worth m / inflation of them
  (`inflation_of`);
* bursts of other work are cut off beforehand (`cut_bursts`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LEAST_SEGMENT = 2  # values: one alone is a burst
LEAST_SHARE = 0.1  # of the series: a shorter change does not count as another speed
WINDOW = 5  # values that a burst is compared with; shorter than most steps
CUT = 4.0  # standard deviations


@dataclass(frozen=True)
class Prior:
    """Prior knowledge of the noise: its variance, and its weight in values."""

    variance: float
    degrees: float


@dataclass(frozen=True, kw_only=True)
class Change:
    """A model that fits better than one level."""

    kind: Literal["step", "pulse", "ramp"]
    first: int  # of the values that changed
    last: int  # behind them
    shift: float  # in the unit of the series; of a ramp from its start to its end
    p: float  # how often equal values look like this
    residual: float  # sum of squares that the model leaves

    def worth(self, n: int) -> float:
        """Say how well the model fits n values, its freedom counted against it; less is better.

        The Bayesian information criterion less what the models share, where a place that is
        chosen counts half: so steps and ramps are distinguished equally often.
        """
        places = {"ramp": 0.0, "step": 0.5, "pulse": 1.5}[self.kind]
        return n * math.log(max(self.residual, 1e-15)) + places * math.log(n)


@dataclass(frozen=True)
class Limits:
    """The thresholds of a change."""

    least: float  # a smaller shift is none, > 0
    alpha: float  # how often equal values may be taken for a change
    prior: Prior
    inflation: float = 1.0
    """Variance of a mean of neighbours over that of as many independent values, >= 1."""


def find_change(series: Floats, limits: Limits) -> Change | None:
    """Return the model that fits best, or None if none is significant and large enough.

    Args:
        series: values at equal distances, on the log scale.
        limits: what counts.
    """
    fits = fitted(series, prior=limits.prior, inflation=limits.inflation)
    return choose(fits, len(series), limits)


def choose(fits: Sequence[Change], n: int, limits: Limits) -> Change | None:
    """Return what happened to n values if something did.

    That something did is known from the model that equal values fit least often; what it was, from
    the one that leaves least, since a step has more places to be tried than a ramp.
    """
    large = [fit for fit in fits if abs(fit.shift) >= limits.least]
    if not any(fit.p * len(fits) < limits.alpha for fit in large):
        return None
    return min(large, key=lambda fit: fit.worth(n))


def find_changes(series: Floats, limits: Limits, *, depth: int = 4) -> Iterator[Change]:
    """Yield what changed, then what changed within the parts of it (binary segmentation).

    `depth` is how often parts are taken apart.
    """
    change = find_change(series, limits)
    if change is None:
        return
    yield change
    if change.kind == "ramp" or depth == 1:
        return
    edges = sorted({0, change.first, change.last, len(series)})
    for start, end in itertools.pairwise(edges):
        for c in find_changes(series[start:end], limits, depth=depth - 1):
            yield replace(c, first=c.first + start, last=c.last + start)


def fitted(series: Floats, *, prior: Prior, inflation: float = 1.0) -> list[Change]:
    """Return the best ramp, step and pulse, as far as the series is long enough for them.

    Their p-values count the places that were tried. See `Limits`.
    """
    n = len(series)
    values = series - series.mean()
    segment = max(LEAST_SEGMENT, round(LEAST_SHARE * n))
    fits = []
    if n >= 3:
        fits.append(_ramp(values, prior, inflation))
    if n >= 2 * segment:
        first = np.arange(segment, n - segment + 1)
        fits.append(_step(values, first, np.full(len(first), n), prior, inflation))
    if n >= 3 * segment:
        first, last = np.triu_indices(n + 1, segment)
        inner = (first >= segment) & (last <= n - segment)
        fits.append(_step(values, first[inner], last[inner], prior, inflation))
    return fits


def cut_bursts(series: Floats) -> Floats:
    """Return the series, cut off where it leaves its running median by four deviations."""
    if len(series) < 2 * WINDOW:
        return series
    padded = np.pad(series, WINDOW // 2, mode="reflect")
    running = np.median(np.lib.stride_tricks.sliding_window_view(padded, WINDOW), axis=1)
    away = series - running
    most = CUT * 1.4826 * float(np.median(np.abs(away)))
    return np.asarray(running + np.clip(away, -most, most))


def inflation_of(parts: list[Floats], prior: Prior) -> float:
    """Return how much the variance of a mean grows because neighbours resemble each other.

    (1 + r) / (1 - r) of an AR(1) process, r from what the best model leaves of each part, its bias
    of about -(2 + 4 r) / n taken out.
    """
    together = squares = 0.0
    n = np.mean([len(part) for part in parts])
    for part in parts:
        fits = fitted(part, prior=prior)
        if not fits:
            continue
        best = min(fits, key=lambda fit: fit.residual)
        left = left_of(part, best)
        together += float(left[1:] @ left[:-1])
        squares += float(left @ left)
    r = together / squares if squares > 0 else 0.0
    r = min(0.9, max(0.0, r + (2 + 4 * max(0.0, r)) / float(n)))
    return (1 + r) / (1 - r)


def normal_score(t: Floats, degrees: Floats | float) -> Floats:
    """Return the standard normal value that is as unlikely as Student's t.

    By D. Wallace, "Bounds on Normal Approximations to Student's and the Chi-Square Distributions",
    Annals of Mathematical Statistics 30(4), 1959. It errs towards likely: 1.954 instead of 1.960
    for the 97.5 % quantile with 4 degrees.
    """
    scale = (8 * degrees + 1) / (8 * degrees + 3)
    return np.asarray(scale * np.sqrt(degrees * np.log1p(np.square(t) / degrees)))


def two_sided(score: float) -> float:
    """Return how often a standard normal value is as far from 0."""
    return math.erfc(abs(score) / math.sqrt(2))


def left_of(series: Floats, change: Change) -> Floats:
    """Return what a model leaves of the series."""
    if change.kind == "ramp":
        x = np.arange(len(series)) - (len(series) - 1) / 2
        return np.asarray(series - series.mean() - change.shift / len(series) * x)
    inside = np.zeros(len(series), dtype=bool)
    inside[change.first : change.last] = True
    level = np.where(inside, series[inside].mean(), series[~inside].mean())
    return np.asarray(series - level)


def _ramp(values: Floats, prior: Prior, inflation: float) -> Change:
    n = len(values)
    x = np.arange(n) - (n - 1) / 2
    slope = float(values @ x / (x @ x))
    residual = max(0.0, float(values @ values) - slope**2 * float(x @ x))
    deviation, degrees = _moderated(np.array(residual), np.array(n - 2.0), prior, inflation)
    score = normal_score(slope * np.sqrt(x @ x / inflation) / deviation, degrees)
    return Change(
        kind="ramp", first=0, last=n, shift=slope * n, p=two_sided(float(score)), residual=residual
    )


def _step(values: Floats, first: Ints, last: Ints, prior: Prior, inflation: float) -> Change:
    """Fit another level in values[first:last]; of all the places, return the most significant."""
    n = len(values)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    inside = (last - first).astype(np.float64)
    outside = n - inside
    total = sums[last] - sums[first]
    shift = total / inside + total / outside  # the values add up to 0
    residual = np.maximum(values @ values - shift**2 * inside * outside / n, 0.0)
    lost = np.minimum(inflation, inside) + np.minimum(inflation, outside)
    deviation, degrees = _moderated(residual, np.maximum(n - lost, 1.0), prior, inflation)
    error = np.sqrt(np.minimum(inflation / inside, 1) + np.minimum(inflation / outside, 1))
    scores = normal_score(shift / (deviation * error), degrees)
    best = int(np.argmax(scores))
    return Change(
        kind="step" if last[best] == n else "pulse",
        first=int(first[best]),
        last=int(last[best]),
        shift=float(shift[best]),
        p=min(1.0, len(first) * two_sided(float(scores[best]))),
        residual=float(residual[best]),
    )


def _moderated(
    residual: Floats, spent: Floats, prior: Prior, inflation: float
) -> tuple[Floats, Floats]:
    """Return the standard deviation of a value, and its degrees of freedom.

    Args:
        residual: sums of squares.
        spent: what they are expected to be for a variance of 1.
        prior: of the noise.
        inflation: see `Limits`.
    """
    degrees = prior.degrees + spent / inflation
    variance = (prior.degrees * prior.variance + residual / inflation) / degrees
    return np.sqrt(np.maximum(variance, 1e-12)), degrees

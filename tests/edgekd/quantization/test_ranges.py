"""Ranges by each method, against values computed by hand and by trying every range."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.quantization.plan import Activations, Grid
from edgekd.quantization.ranges import (
    Method,
    RangeOption,
    find_divergence,
    find_noise,
    percentile_range,
)
from edgekd.quantization.scales import make_grid
from edgekd.quantization.statistics import Half, Statistics

GRIDS: tuple[Activations, ...] = get_args(Activations)


def half(*samples: Any) -> Half:
    found = Half()
    for sample in samples:
        found.add(np.asarray(sample, np.float32))
    return found


def rounded(values: NDArray[Any], grid: Grid) -> NDArray[Any]:
    least, most = (-128, 127) if grid.dtype == "int8" else (0, 255)
    whole = np.clip(np.rint(values / float(grid.scale)) + grid.zero, least, most)
    found: NDArray[Any] = (whole - grid.zero) * float(grid.scale)
    return found


def square_error(values: NDArray[Any], low: Any, high: Any, activations: Activations) -> float:
    return float(((values - rounded(values, make_grid(low, high, activations))) ** 2).sum())


def test_noise_is_that_of_rounding_and_of_clipping() -> None:
    bins = half([3, 3, 3, 3], [0]).bins()
    # 3 / 2 rounds to 2, which stands for 4; and 255 / 100 is the most of the finer grid.
    assert find_noise(bins, Grid(dtype="uint8", scale=np.float32(2), zero=0)) == 4 * (4 - 3) ** 2
    fine = Grid(dtype="uint8", scale=np.float32(0.01), zero=0)
    assert find_noise(bins, fine) == pytest.approx(4 * (3 - 2.55) ** 2, rel=1e-5)
    below = Grid(dtype="uint8", scale=np.float32(0.01), zero=255)
    assert find_noise(bins, below) == pytest.approx(4 * 3**2)


@pytest.mark.parametrize("activations", GRIDS)
@pytest.mark.parametrize("reach", [0.3, 1, 4])
def test_noise_of_bins_is_that_of_the_values(activations: Activations, reach: float) -> None:
    values = np.random.default_rng(0).laplace(0.2, 1, 40_000).astype(np.float32)
    grid = make_grid(-reach, 2 * reach, activations)
    want = float(((values - rounded(values, grid)) ** 2).sum())
    assert find_noise(half(values).bins(), grid) == pytest.approx(want, rel=0.01)


def test_percentile_cuts_the_share_it_is_given() -> None:
    even, both = np.arange(1, 1001), np.arange(-300, 701)
    near: list[tuple[NDArray[Any], Activations, tuple[float, float]]] = [
        (even, "uint8", (0, 900)),
        (even, "int8", (0, 900)),
        (both, "uint8", (-250, 650)),  # 10 % of 1,001 values: 5 % at each end
        (both, "int8", (-300, 600)),  # or of the magnitudes: those above 600
    ]
    for values, activations, ends in near:
        least = min(0.0, float(values.min()))
        found = percentile_range(half(values).bins(), least, float(values.max()), activations, 0.9)
        np.testing.assert_allclose(found, ends, rtol=0.01)


def test_divergence_of_a_distribution_by_hand() -> None:
    counts = np.array([2.0, 1, 1])
    # One level takes the first two, 1.5 each: p = 1/2, 1/4, 1/4 and q = 3/8, 3/8, 1/4.
    want = np.log(4 / 3) / 2 + np.log(2 / 3) / 4
    assert find_divergence(counts, 3, 4.0) == pytest.approx(want)
    # What is clipped joins the second: p = 1/2, 1/2 and q = 3/4, 3/4 of 3/2.
    assert find_divergence(counts, 2, 4.0) == pytest.approx(0)
    assert find_divergence(np.array([2.0, 0, 1]), 2, 4.0) == np.inf  # nothing there to clip to


def test_entropy_clips_a_lonely_value_and_keeps_what_is_even() -> None:
    rng = np.random.default_rng(1)
    normal = rng.standard_normal(50_000)
    for activations in GRIDS:
        low, high = half([*normal, 60.0]).find_range("entropy", activations)
        assert 2 < high < 6
        assert low > -6
        even = half(rng.uniform(-1, 1, 50_000))
        assert max(abs(float(end)) for end in even.find_range("entropy", activations)) > 0.95


@pytest.mark.parametrize("activations", GRIDS)
@pytest.mark.parametrize("shape", ["normal", "laplace", "rectified", "skewed", "outlier"])
def test_no_range_has_less_error_than_mse(activations: Activations, shape: str) -> None:
    rng = np.random.default_rng(2)
    values = {
        "normal": rng.standard_normal(4000),
        "laplace": rng.laplace(0, 1, 4000),
        "rectified": np.maximum(rng.standard_normal(4000), 0),
        "skewed": rng.gamma(2, 1, 4000) - 1,
        "outlier": np.append(rng.standard_normal(4000), 400),
    }[shape].astype(np.float32)
    low, high = half(values).find_range("mse", activations)
    mine = square_error(values, float(low), float(high), activations)
    factors = 0.5 ** np.linspace(0, 8, 60)
    tried: Any = [(values.min() * a, values.max() * b) for a in factors for b in factors]
    best = min(square_error(values, min(a, 0), max(b, 0), activations) for a, b in tried)
    assert mine < 1.03 * best


METHODS: tuple[RangeOption, ...] = get_args(RangeOption)
STRANGE: dict[str, list[float]] = {
    "zeros": [0] * 9,
    "a constant": [3] * 9,
    "a negative constant": [-1e-3] * 9,
    "denormals": [1e-45, 1e-42, -1e-45, 0],
    "small normals": [1e-38, -1e-37],
    "one value": [5],
    "mask of -1e9": [0.5, -0.5, -1e9, 1],
    "mask of -3.4e38": [0.5, -0.5, float(np.finfo(np.float32).min), 1],
    "minus infinity": [0.5, -np.inf, 1],
    "both infinities": [np.inf, -np.inf],
    "far apart": [1e-30, 1e-10, 1, 1e10, 1e29],
    "large and equal": [2e29] * 5,
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_values_have_a_range(name: str) -> None:
    values = np.array(STRANGE[name], np.float32)
    statistics = Statistics((half(values), half(values[::-1], values)))
    for option in METHODS:
        for activations in GRIDS:
            (low, high), _ = statistics.find_range(option, activations)
            assert low.dtype == high.dtype == np.float32
            assert min(low, 0) >= min(values.min(), 0)
            assert max(high, 0) <= max(values.max(), 0)
            if not np.abs(values).max() <= 1e30:  # it stays float: its extremes say so
                assert (low, high) == (values.min(), values.max())
            elif np.ptp(values) == 0:
                assert min(low, 0) == min(values[0], 0)
                assert max(high, 0) == max(values[0], 0)


def test_a_nan_stays_in_every_range() -> None:
    statistics = Statistics((half([1, np.nan]), half([1, 2])))
    for option in METHODS:
        (low, high), _ = statistics.find_range(option, "uint8")
        assert np.isnan(low)
        assert np.isnan(high)


def test_auto_takes_what_is_best_on_samples_not_seen() -> None:
    """A lonely value of one half widens the range of the other half for nothing."""
    rng = np.random.default_rng(3)
    bounded = np.clip(rng.standard_normal((2, 20, 500)), -1, 1)
    lonely = rng.standard_normal((2, 20, 500))
    lonely[0, 7, 30] = 60
    for samples, wanted in ((bounded, True), (lonely, False)):
        statistics = Statistics((half(*samples[0]), half(*samples[1])))
        found, method = statistics.find_range("auto", "int8")
        assert (method == "minmax") == wanted
        assert found == statistics.find_range(method, "int8")[0]
        noise = statistics.find_noises("int8")
        assert noise[method] == min(noise.values())


def test_auto_judges_a_half_by_the_range_of_the_other() -> None:
    """One half reaches 1, the other 2: unclipped noise of the first, clipped of the second."""
    one, two = half(np.full(7, 1.0)), half(np.full(5, 2.0))
    noise = Statistics((one, two)).find_noises("uint8")
    coarse, fine = make_grid(0, 2, "uint8"), make_grid(0, 1, "uint8")
    method: Method = "minmax"
    want = find_noise(one.bins(), coarse) + find_noise(two.bins(), fine)
    assert noise[method] == pytest.approx(want)
    assert noise[method] == pytest.approx(5, rel=0.01)


def test_one_sample_gives_the_plain_range() -> None:
    (low, high), method = Statistics((half([1, 2]), Half())).find_range("auto", "uint8")
    assert (float(low), float(high), method) == (1, 2, "minmax")

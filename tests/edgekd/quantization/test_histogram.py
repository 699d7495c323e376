"""Histograms on the float's top bits: counts add up in any order, and no value is too far."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.quantization.histogram import Histogram


def counted(*arrays: NDArray[np.float32]) -> Histogram:
    found = Histogram()
    for array in arrays:
        found.add(array)
    return found


def test_bins_contain_their_values_and_are_narrow() -> None:
    values = np.array([0, -0.0, 1, 1.005, -1, 1.0079, 256, 3e-30, -2.5], np.float32)
    bins = counted(values).bins(256)
    assert bins.zeros == 2
    assert bins.count == 9
    # 1 and 1 + 1/128 = 1.0078 are the first values of two bins.
    assert bins.low.tolist()[1:] == [1, 1.0078125, 2.5, 256]
    assert bins.above.tolist() == [1, 2, 1, 0, 1]
    assert bins.below.tolist() == [0, 1, 0, 1, 0]
    assert (bins.high - bins.low <= bins.low / 128).all()
    assert bins.high[-1] == 256  # nothing exceeds the greatest value


def test_counts_depend_on_no_order_and_no_grouping() -> None:
    values = np.random.default_rng(0).standard_cauchy((40, 100)).astype(np.float32)
    whole = counted(values).bins(1e9)
    parts = counted(*values[::-1, ::-1]).bins(1e9)
    merged = counted(*values[1::3]).merged(counted(*values[::3], *values[2::3])).bins(1e9)
    for other in (parts, merged):
        assert whole.low.tolist() == other.low.tolist()
        assert whole.above.tolist() == other.above.tolist()
        assert whole.below.tolist() == other.below.tolist()


@pytest.mark.parametrize("value", [1e-45, 1e-40, 3.4e38, -3.4028235e38, np.inf, -np.inf, np.nan])
def test_no_value_is_too_small_too_large_or_not_a_number(value: float) -> None:
    bins = counted(np.array([1, value], np.float32)).bins(3.4028234663852886e38)
    assert np.isfinite(bins.high).all()
    assert bins.count == (2 if np.isfinite(value) else 1)

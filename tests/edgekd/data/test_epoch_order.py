"""An epoch of a mixture is a function of (seed, number), and its weights hold exactly."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgekd.data.dataset import Share
from edgekd.data.epoch_order import count_per_epoch, order_epoch
from edgekd.data.seeded_random import shuffled

INDICES = np.concatenate([np.arange(10), np.arange(20, 27)])  # 10 of the main source, 7 further


def shares(weight: float | None) -> tuple[Share, ...]:
    return Share("main", 0, 20, None), Share("further", 20, 27, weight)


def epoch(number: int, weight: float | None = 0.5, *, seed: int = 0) -> NDArray[np.int64]:
    return order_epoch(INDICES, shares(weight), seed=seed, number=number)


@pytest.mark.parametrize("number", range(3))
def test_the_main_source_comes_once_beside_its_weight_of_the_other(number: int) -> None:
    found = epoch(number)
    assert sorted(found[found < 20].tolist()) == list(range(10))
    assert (found >= 20).sum() == 5
    assert len(found) == count_per_epoch(INDICES, shares(0.5)) == 15


def test_samples_of_a_further_source_are_met_equally_often() -> None:
    together = np.concatenate([epoch(number) for number in range(7)])  # 35 = 5 passes over 7
    counts = np.bincount(together, minlength=27)
    assert set(counts[20:].tolist()) == {5}
    assert set(counts[:10].tolist()) == {7}


def test_a_source_smaller_than_its_part_of_an_epoch_is_passed_several_times() -> None:
    found = epoch(3, 2.5)  # 25 of 7: samples 75 to 99 of the endless row
    counts = np.bincount(found, minlength=27)[20:]
    assert counts.sum() == 25
    assert set(counts.tolist()) <= {3, 4}


def test_an_epoch_is_a_function_of_seed_and_number_alone() -> None:
    np.testing.assert_array_equal(epoch(4), epoch(4))
    np.testing.assert_array_equal(
        order_epoch(INDICES[::-1], shares(0.5), seed=0, number=4), epoch(4)
    )
    assert (epoch(5) != epoch(4)).any()
    assert (epoch(4, seed=1) != epoch(4)).any()


def test_sources_are_well_mixed() -> None:
    further = INDICES[:0]
    for number in range(200):
        further = np.concatenate([further, np.flatnonzero(epoch(number) >= 20)])
    places = np.bincount(further, minlength=15)  # 5 of 15 places, 200 times: 66.7 +- 6.7
    assert (np.abs(places - 66.7) < 30).all()


def test_without_weights_every_sample_comes_once_in_the_order_of_a_single_source() -> None:
    np.testing.assert_array_equal(epoch(2, None), shuffled(INDICES, 3, 0, 2))
    np.testing.assert_array_equal(
        order_epoch(INDICES, (), seed=0, number=2), shuffled(INDICES, 3, 0, 2)
    )
    assert count_per_epoch(INDICES, shares(None)) == count_per_epoch(INDICES, ()) == 17

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.data.array_facts import ArrayFacts, ArrayOptions, describe_arrays, state_meaning
from edgekd.data.source import Source, open_source
from edgekd.errors import DataError

SENSORS = {
    "x": np.array([[[0.0, 9.81]], [[2.0, np.inf]], [[-4.0, 100.0]]], np.float32),
    "on": np.array([True, False, True]),
}


def test_facts_are_those_of_the_training_samples_where_they_are_finite() -> None:
    x, on = describe_arrays(SENSORS, np.array([0, 1]))
    assert x == ArrayFacts(array="x", dtype="float32", shape=(1, 2), low=0, high=9.81, mean=3.93667)
    assert (on.dtype, on.shape, on.low, on.high) == ("bool", (), 0, 1)
    empty = describe_arrays({"x": np.full((2, 1), np.nan)}, np.array([0]))
    assert empty[0].low is empty[0].mean is None


def test_the_recipe_states_axes_and_units(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 1, 2)), on=SENSORS["on"], y=np.array([0, 1, 0]))
    table = {"path": "x.npz", "axes": {"x": ["time", "axis"]}, "units": {"x": "m/s2"}}
    meaning = open_source(Source.model_validate(table), root=tmp_path).meaning
    x, on = state_meaning(describe_arrays(SENSORS, np.arange(3)), meaning)
    assert (x.axes, x.unit, on.axes, on.unit) == (("time", "axis"), "m/s2", None, None)


@pytest.mark.parametrize(
    ("meaning", "fault"),
    [
        ({"units": {"acceleration": "g"}}, "units in .data. names the array 'acceleration'"),
        ({"axes": {"x": ["time"]}}, r"names 1 axes of 'x' \(time\).*the shape \[1, 2\]"),
    ],
)
def test_a_meaning_of_other_arrays_is_refused(
    tmp_path: Path, meaning: dict[str, object], fault: str
) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 1, 2)), on=SENSORS["on"], y=np.array([0, 1, 0]))
    assert ArrayOptions.model_validate(meaning)
    with pytest.raises(DataError, match=fault):
        open_source(Source.model_validate({"path": "x.npz", **meaning}), root=tmp_path)

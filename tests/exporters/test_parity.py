"""Two forms of a network are compared honestly: what is not finite or not alike never passes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgekd.exporters.parity import parity

REFERENCE = np.array([[1.0, -2.0], [3.0, 4.0]], dtype=np.float32)


def test_equal_outputs_pass_with_endless_signal_to_noise() -> None:
    found = parity({"y": REFERENCE}, {"y": REFERENCE.copy()}, rtol=0.0)
    assert found.ok
    assert found.outputs["y"].snr_db == float("inf")


def test_the_difference_is_taken_on_the_outputs_scale() -> None:
    other = REFERENCE + np.array([[0, 0], [0.0, 0.04]], dtype=np.float32)
    found = parity({"y": REFERENCE}, {"y": other}, rtol=0.011).outputs["y"]
    assert found.max_abs == pytest.approx(0.04, rel=1e-3)
    assert found.relative == pytest.approx(0.01, rel=1e-3)
    assert found.worst_sample == 1
    # 10 log10((1 + 4 + 9 + 16) / 0.04^2)
    assert found.snr_db == pytest.approx(42.73, abs=0.01)
    assert parity({"y": REFERENCE}, {"y": other}, rtol=0.011).ok
    failed = parity({"y": REFERENCE}, {"y": other}, rtol=0.009)
    assert not failed.ok
    assert "most in sample 1" in str(failed)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_fails_in_either_form(value: float) -> None:
    broken = REFERENCE.copy()
    broken[1, 0] = value
    for a, b in ((REFERENCE, broken), (broken, REFERENCE), (broken, broken)):
        found = parity({"y": a}, {"y": b}, rtol=1e9)
        assert not found.ok
        assert not found.finite
        assert found.outputs["y"].worst_sample == 1


def test_unlike_shapes_and_missing_outputs_fail_with_words() -> None:
    found = parity({"y": REFERENCE, "z": REFERENCE}, {"y": REFERENCE[:1]}, rtol=1.0)
    assert not found.ok
    assert "shape [1, 2], [2, 2] in the reference" in str(found)
    assert "output 'z': it is missing" in str(found)


def test_zeros_are_compared_absolutely() -> None:
    zeros = np.zeros((2, 2), dtype=np.float32)
    assert parity({"y": zeros}, {"y": zeros}, rtol=1e-4).ok
    assert not parity({"y": zeros}, {"y": zeros + 1e-9}, rtol=1e-4).ok


def test_integers_do_not_wrap_around() -> None:
    a, b = np.array([0], dtype=np.uint8), np.array([255], dtype=np.uint8)
    assert parity({"y": a}, {"y": b}, rtol=1.0).outputs["y"].max_abs == 255


def test_it_goes_into_a_report() -> None:
    found = parity({"y": REFERENCE}, {"y": REFERENCE}, rtol=0.1)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["ok"] is True

"""Weights are rounded for the least error of the output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from edgekd.exporters.ort_session import open_session
from edgekd.quantization.accuracy.rounding import cut_patches, descend


def test_two_errors_of_inputs_that_rise_together_cancel() -> None:
    """Both weights are 0.4: nearest gives 0 and 0, and errs by 0.8 x; 1 and 0 by 0.2 x."""
    exact = np.full((1, 1, 2), 0.4)
    together = np.full((1, 2, 2), 100.0)
    assert sorted(descend(exact, np.rint(exact), together)[0, 0]) == [0, 1]
    apart = np.diag([100.0, 100.0])[None]
    assert descend(exact, np.rint(exact), apart)[0, 0].tolist() == [0, 0]


def test_the_error_of_no_row_rises_and_weights_move_to_neighbours_only() -> None:
    rng = np.random.default_rng(0)
    exact = np.rint(rng.uniform(-127, 127, (2, 30, 70)) * 256) / 256
    x = np.rint(rng.standard_normal((2, 50, 70)) @ rng.standard_normal((70, 70)))
    energy = x.transpose(0, 2, 1) @ x
    nearest = np.clip(np.rint(exact), -127, 127)
    found = descend(exact, nearest, energy)
    before, after = (
        np.einsum("gok,gkl,gol->go", e, energy, e) for e in (nearest - exact, found - exact)
    )
    assert (after <= before).all()
    assert after.sum() < 0.7 * before.sum()
    assert (np.abs(found - exact) < 1).all()
    assert np.abs(found).max() <= 127


@pytest.mark.parametrize(
    "options",
    [
        {"pads": [1, 0, 2, 1], "strides": [2, 1]},
        {"dilations": [2, 1], "group": 2},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER"},
        {"auto_pad": "VALID"},
    ],
)
def test_patches_are_what_a_convolution_multiplies(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(3)
    groups = options.get("group", 1)
    x = rng.standard_normal((1, 4, 7, 6)).astype("f")
    w = rng.standard_normal((6, 4 // groups, 3, 2)).astype("f")
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c", **options)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(n, 1, s) for n, s in (("x", x.shape), ("w", w.shape))],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    want = open_session(model.SerializeToString()).run(None, {"x": x, "w": w})[0]
    patches = cut_patches(node, x, w.shape[2:])
    by_group = w.reshape(groups, 6 // groups, -1)
    got = np.einsum("gpk,gok->pgo", patches, by_group).reshape(-1, 6)
    flat = want[0].reshape(6, -1).T
    count = len(flat)
    np.testing.assert_allclose(got, flat[:: max(1, count // 32)], rtol=1e-4, atol=1e-4)

"""Mean errors go into the bias."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekd.quantization.accuracy.bias_correction import correct_biases
from edgekd.quantization.accuracy.layer_errors import measure_layers
from edgekd.quantization.accuracy.workshop import make_plan_of
from edgekd.quantization.layouts import ONNX_RUNTIME
from edgekd.quantization.static import calibrate

Build = Callable[..., Path]


@pytest.mark.parametrize("bias", ["", ", b"])
def test_the_error_of_a_layer_by_hand(build: Build, bias: str) -> None:
    """Weight 1.27 is 127 steps of 0.01 exactly; -0.505 becomes -50 of them, which is more."""
    graph = f"(float[batch, 2] x) => (float[batch, 1] y) {{ y = Gemm(x, w{bias}) }}"
    own = {"w": np.array([[1.27], [-0.505]], "f")} | ({"b": np.array([3], "f")} if bias else {})
    x = np.array([[255, 102], [0, 51]], "f")
    calibrated = calibrate(build(graph, own), lambda: iter([{"x": x}]))
    plan = make_plan_of(calibrated, ONNX_RUNTIME)
    (name,) = plan.layers
    errors = measure_layers(calibrated.model, plan, calibrated.kept, name="m")
    # x is on its grid. -0.505 is -50.5 steps and becomes -50: -0.005 * (102 + 51) / 2.
    assert errors[name].mean == pytest.approx([-0.3825], rel=1e-3)
    want = np.array([[255 * 1.27 - 102 * 0.505], [51 * -0.505]]) + (3 if bias else 0)
    noise = (0.51**2 + 0.255**2) / np.square(want).sum()
    assert errors[name].noise == pytest.approx(noise, rel=1e-2)
    _, corrected = correct_biases(calibrated.model, plan, errors)
    shifted = corrected.layers[name].bias
    assert shifted is not None
    assert shifted == pytest.approx([(3 if bias else 0) - 0.3825], rel=1e-3)


def test_a_product_is_corrected_in_the_addition_behind_it(build: Build) -> None:
    graph = """(float[batch, 3, 2] x) => (float[batch, 3, 1] y) {
        h = LayerNormalization(x, g)
        p = MatMul(h, w)
        y = Add(p, b)
    }"""
    own = {"g": np.ones(2, "f"), "w": np.array([[1.27], [0.505]], "f"), "b": np.array([3], "f")}
    x = np.random.default_rng(0).standard_normal((8, 3, 2)).astype("f") + 1
    calibrated = calibrate(build(graph, own), lambda: iter([{"x": x}]))
    plan = make_plan_of(calibrated, ONNX_RUNTIME)
    (name,) = plan.layers
    errors = measure_layers(calibrated.model, plan, calibrated.kept, name="m")
    model, corrected = correct_biases(calibrated.model, plan, errors)
    assert corrected.layers[name].bias is None
    (old,) = (t for t in calibrated.model.graph.initializer if t.name == "b")
    (new,) = (t for t in model.graph.initializer if t.name == "b")
    from onnx import numpy_helper

    moved = numpy_helper.to_array(new) - numpy_helper.to_array(old)
    assert moved == pytest.approx(errors[name].mean, rel=1e-3)

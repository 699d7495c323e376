"""Outliers move into the weights, and the function stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from onnx import numpy_helper

from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.ort_session import open_session
from edgekd.quantization.accuracy.smoothing import find_products, smooth
from edgekd.quantization.graph_preparation import prepare

Build = Callable[..., Path]

ALONE = """(float[batch, 3, 4] x) => (float[batch, 3, 2] y) {
    h = LayerNormalization(x, g, b)
    y = MatMul(h, w)
}"""
STREAM = """(float[batch, 3, 4] x) => (float[batch, 3, 4] y) {
    h = LayerNormalization(x, g, b)
    p = MatMul(h, w)
    q = MatMul(h, v)
    s = Add(p, h)
    y = Add(s, q)
}"""


def test_the_factor_goes_into_the_normalization_by_hand(build: Build) -> None:
    own = {
        "g": np.array([8, 1, 2, 1], "f"),
        "b": np.array([0, 1, 0, 2], "f"),
        "w": np.full((4, 2), 0.5, "f"),
    }
    model = prepare(load_onnx(build(ALONE, own)), "m")
    (name,) = find_products(model, {model.graph.node[1].name})
    equal = smooth(
        model, {model.graph.node[1].name}, {name: np.array([16, 4, 4, 1], "f")}, alpha=0.5
    )
    assert equal is not None
    assert [node.op_type for node in equal.graph.node] == ["LayerNormalization", "MatMul"]
    after = {t.name: numpy_helper.to_array(t) for t in equal.graph.initializer}
    # s goes as sqrt(p): 4, 2, 2, 1, by 4 so that the largest value stays 16.
    np.testing.assert_allclose(after["g"], [8, 2, 4, 4], rtol=1e-6)
    np.testing.assert_allclose(after["b"], [0, 2, 0, 8], rtol=1e-6)
    np.testing.assert_allclose(after["w"][:, 0], [0.5, 0.25, 0.25, 0.125], rtol=1e-6)


def test_a_residual_stream_gets_one_multiplication(build: Build) -> None:
    rng = np.random.default_rng(0)
    own = {"g": np.array([50, 1, 2, 1], "f"), "b": np.ones(4, "f")}
    own |= {n: rng.standard_normal((4, 4)).astype("f") for n in ("w", "v")}
    model = prepare(load_onnx(build(STREAM, own)), "m")
    layers = {node.name for node in model.graph.node if node.op_type == "MatMul"}
    (name,) = find_products(model, layers)
    equal = smooth(model, layers, {name: np.array([99, 2, 3, 2], "f")})
    assert equal is not None
    assert [node.op_type for node in equal.graph.node].count("Mul") == 1
    x = rng.standard_normal((2, 3, 4)).astype("f")
    want, got = (
        open_session(bytes(m.SerializeToString())).run(None, {"x": x})[0] for m in (model, equal)
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    assert smooth(model, layers, {name: np.ones(4, "f")}, alpha=1.0) is None

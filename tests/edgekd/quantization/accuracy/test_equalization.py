"""Channels get like ranges, and the function stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.ort_session import open_session
from edgekd.quantization.accuracy.equalization import equalize, find_least_factors, find_pairs
from edgekd.quantization.accuracy.factors import find_factors
from edgekd.quantization.graph_preparation import prepare

Build = Callable[..., Path]

CHAIN = """(float[batch, 2, 6, 6] x) => (float[batch, 3] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
    r = BETWEEN
    d = Conv<pads = [1, 1, 1, 1], group = 4>(r, w2, b2)
    s = Relu(d)
    g = GlobalAveragePool(s)
    f = Flatten(g)
    y = Gemm<transB = 1>(f, w3)
}"""
SHAPES = {"w1": (4, 2, 3, 3), "b1": (4,), "w2": (4, 1, 3, 3), "b2": (4,), "w3": (3, 4)}


def weights(**more: NDArray[Any]) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(1)
    return {n: rng.standard_normal(s).astype("f") for n, s in SHAPES.items()} | more


def answers(model: ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    session = open_session(bytes(model.SerializeToString()))
    found: NDArray[np.float32] = session.run(None, {"x": x})[0]
    return found


def test_factors_by_hand() -> None:
    peaks, read_by = np.array([4, 1, 0], "f"), np.array([1, 4, 1], "f")
    # s = sqrt(p / w) = 2 and 1/2: both get the range 2; all are halved, so that 4 stays.
    np.testing.assert_allclose(find_factors(peaks, read_by, alpha=0.5), [1, 0.25, 1])
    # Everything goes into the weights: the activation has one range.
    np.testing.assert_allclose(find_factors(peaks, read_by, alpha=1.0), [1, 0.25, 1])
    kept = find_factors(peaks, read_by, alpha=0.5, least=np.array([np.nan, 0.5, 0]))
    np.testing.assert_allclose(kept, [1, 0.5, 1])


@pytest.mark.parametrize(
    "between",
    ["Relu(a)", "LeakyRelu(a)", "MaxPool<kernel_shape = [1, 1]>(a)", "Pad(a, pads)"],
)
def test_the_function_stays_and_the_ranges_meet(build: Build, between: str) -> None:
    more = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)} if "Pad" in between else {}
    path = build(CHAIN.replace("BETWEEN", between), weights(**more))
    model = prepare(load_onnx(path), "m")
    pairs = find_pairs(model)
    assert [pair.second.op_type for pair in pairs] == ["Conv", "Gemm"]
    peaks = {pairs[0].tensor: np.array([100, 1, 10, 0.1], "f")}
    equal = equalize(model, peaks, alpha=1.0)
    assert equal is not None
    x = np.random.default_rng(0).standard_normal((2, 2, 6, 6)).astype("f")
    np.testing.assert_allclose(answers(equal, x), answers(model, x), rtol=1e-4, atol=1e-5)
    before, after = (
        {t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (model, equal)
    )
    name = pairs[0].second.input[1]
    factors = after[name] / before[name]  # the depthwise weight took over the ranges of its inputs
    np.testing.assert_allclose(
        factors.reshape(4, -1).mean(axis=1), np.array([1, 0.01, 0.1, 0.001]), rtol=1e-3
    )


def test_a_clip_holds_channels_that_may_reach_it(build: Build) -> None:
    """Inputs are clipped to 6: weights 0.1 and 0.5 reach 0.6 and 3, weights 2 and 1 reach 6."""
    graph = """(float[batch, 4, 2, 2] x) => (float[batch, 2, 2, 2] y) {
        c = Clip(x, zero, six)
        a = Conv<group = 4>(c, w1)
        r = Clip(a, zero, six)
        y = Conv(r, w2)
    }"""
    own = {
        "w1": np.array([0.1, 0.5, 2, 1], "f").reshape(4, 1, 1, 1),
        "w2": np.ones((2, 4, 1, 1), "f"),
        "zero": np.array(0, "f"),
        "six": np.array(6, "f"),
    }
    model = prepare(load_onnx(build(graph, own)), "m")
    (pair,) = find_pairs(model)
    np.testing.assert_allclose(find_least_factors(model, pair), [0.1, 0.5, np.nan, 1])
    equal = equalize(model, {pair.tensor: np.array([0.2, 2, 6, 6], "f")}, alpha=1.0)
    assert equal is not None
    x = (np.random.default_rng(0).standard_normal((3, 4, 2, 2)) * 8).astype("f")
    np.testing.assert_allclose(answers(equal, x), answers(model, x), rtol=1e-5, atol=1e-5)
    after = {t.name: numpy_helper.to_array(t) for t in equal.graph.initializer}
    # s = peak / 6 = 1/30 and 1/3, but no less than 0.1 and 0.5; 1 where the clip may act.
    np.testing.assert_allclose(after[pair.second.input[1]][0, :, 0, 0], [0.1, 0.5, 1, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("graph", "why"),
    [
        ("a = Conv(x, w1)\n s = Sigmoid(a)\n y = Conv(s, w2)", "a sigmoid is not homogeneous"),
        (
            "a = Conv(x, w1)\n b = Relu(a)\n c = Conv(b, w2)\n y = Add(b, c)",
            "one more reader",
        ),
        ("a = Conv(x, w1)\n b = Conv(a, w1)\n y = Relu(b)", "both read one weight"),
        ("a = Conv(x, w1)\n b = Clip(a, high)\n y = Conv(b, w2)", "it ends below at a value"),
        ("y = Conv(x, w1)\n z = Relu(y)\n q = Conv(z, w2)", "it is an output"),
    ],
)
def test_other_layers_are_no_pairs(build: Build, graph: str, why: str) -> None:
    own = {"w1": np.ones((2, 2, 1, 1), "f"), "w2": np.ones((2, 2, 1, 1), "f")}
    whole = f"(float[batch, 2, 4, 4] x) => (float[batch, 2, 4, 4] y) {{ {graph} }}"
    more = {"high": np.array(1, "f")} if "high" in graph else {}
    assert find_pairs(prepare(load_onnx(build(whole, own | more)), "m")) == [], why

"""Operators are written as equal ones that have 8-bit kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.ort_session import open_session
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.node_selection import choose

BODIES = {
    "h = Div(a, six)": ["Mul"],
    "h = Sub(a, shift)": ["Add"],
    "h = Div(six, a)": ["Div"],
    "h = ReduceMean<axes = [2, 3], keepdims = 1>(a)": ["GlobalAveragePool"],
    "h = ReduceMean<axes = [-1, -2], keepdims = 0>(a)": ["GlobalAveragePool", "Squeeze"],
    "h = ReduceMean<axes = [3], keepdims = 1>(a)": ["ReduceMean"],
    "m = ReduceMean<axes = [2, 3]>(a) h = Sub(a, m)": ["ReduceMean", "Sub"],
}


@pytest.mark.parametrize("body", BODIES)
def test_the_answers_stay_and_the_operators_have_kernels(body: str, build: Any) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((4, 3, 1, 1)).astype(np.float32),
        "six": np.array(6, np.float32),
        "shift": rng.standard_normal((4, 1, 1)).astype(np.float32),
    }
    used = {name: array for name, array in weights.items() if name in body or name == "w"}
    text = f"(float[batch, 3, 4, 5] x) => (float[n, c, h, w] h) {{ a = Conv(x, w) {body} }}"
    if "keepdims = 0" in body:
        text = text.replace("float[n, c, h, w]", "float[n, c]")
    model = load_onnx(build(text, used))
    ready = prepare(model, "it")
    assert [node.op_type for node in ready.graph.node if node.op_type != "Conv"] == BODIES[body]
    feeds = {"x": rng.standard_normal((2, 3, 4, 5)).astype(np.float32)}
    want, got = (
        open_session(bytes(m.SerializeToString())).run(None, feeds)[0] for m in (model, ready)
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_the_parts_of_a_gelu_stay_float_together(build: Any) -> None:
    text = """(float[batch, 4, 4, 4] x) => (float[batch, 4, 4, 4] y) {
        a = Conv(x, w) d = Mul(a, root) e = Erf(d) f = Add(e, one) g = Mul(a, f) h = Mul(g, half)
        s = Add(h, a) y = Conv(s, w)
    }"""
    numbers = {"root": 0.5**0.5, "one": 1, "half": 0.5}
    weights = {name: np.array(value, np.float32) for name, value in numbers.items()}
    weights["w"] = np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32)
    model = prepare(load_onnx(build(text, weights)), "it")
    chosen = set(choose(model).nodes)
    assert [node.op_type for node in model.graph.node if node.name in chosen] == [
        *("Conv", "Add", "Conv"),
    ]

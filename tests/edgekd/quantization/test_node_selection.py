"""Which nodes are chosen is read from the graph: old ways to write a transformer included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.exporters.onnx_files import load_onnx
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.node_selection import choose, is_transformer


def test_elementwise_work_at_the_ends_stays_float(cnn: Path) -> None:
    """Pixels are normalised in float: 8 bits for mean and scale would be wrong by percents."""
    model = prepare(load_onnx(cnn), "cnn")
    chosen = set(choose(model).nodes)
    kinds = {node.op_type: node.name in chosen for node in model.graph.node}
    assert not any(kinds[op] for op in ("Transpose", "Cast", "Sub", "Div"))
    assert all(kinds[op] for op in ("Conv", "Clip", "Add", "Relu", "GlobalAveragePool", "Gemm"))


def test_the_tail_of_a_detector_stays_float(detector: Path) -> None:
    model = prepare(load_onnx(detector), "detector")
    chosen = set(choose(model).nodes)
    assert {n.op_type for n in model.graph.node if n.name in chosen} == {"Conv", "Relu"}


WRITTEN_OUT = """(float[batch, 5, 8] x) => (float[batch, 5, 4] y) {
    m = ReduceMean<axes = [AXES], keepdims = 1>(x)
    c = Sub(x, m)
    s = Pow(c, two)
    v = ReduceMean<axes = [AXES], keepdims = 1>(s)
    e = Add(v, epsilon)
    d = Sqrt(e)
    n = Div(c, d)
    y = MatMul(n, w)
}"""


@pytest.mark.parametrize(("axes", "found"), [("-1", True), ("2", True), ("1", False)])
def test_layer_norm_written_out_is_recognized(axes: str, found: bool, build: Any) -> None:
    weights = {
        "two": np.array(2, np.float32),
        "epsilon": np.array(1e-5, np.float32),
        "w": np.ones((8, 4), np.float32),
    }
    path = build(WRITTEN_OUT.replace("AXES", axes), weights)
    assert is_transformer(prepare(load_onnx(path), "m")) == found


def test_softmax_at_the_end_of_a_cnn_is_no_attention(build: Any) -> None:
    text = "(float[N, 4] x) => (float[N, 3] y) { a = MatMul(x, w) \n y = Softmax(a) }"
    path = build(text, {"w": np.ones((4, 3), np.float32)})
    assert choose(prepare(load_onnx(path), "m")).kind == "convolutional"


def test_attention_without_layer_norm_is_recognized(build: Any) -> None:
    text = """(float[N, 4, 4] x) => (float[N, 4, 4] y) {
        a = MatMul(x, w)
        s = Softmax(a)
        t = Transpose<perm = [0, 2, 1]>(s)
        y = MatMul(t, x)
    }"""
    path = build(text, {"w": np.ones((4, 4), np.float32)})
    found = choose(prepare(load_onnx(path), "m"))
    assert (found.kind, len(found.layers), len(found.left)) == ("transformer", 1, 1)


def test_work_on_what_no_layer_made_stays_float(build: Any) -> None:
    text = """(float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y) {
        a = Conv(x, w)
        s = Mul(a, x)
        r = Relu(s)
        y = Conv(r, v)
    }"""
    weights = {name: np.ones((3, 3, 1, 1), np.float32) for name in "wv"}
    model = prepare(load_onnx(build(text, weights)), "m")
    chosen = set(choose(model).nodes)
    assert [n.op_type for n in model.graph.node if n.name in chosen] == ["Conv", "Relu", "Conv"]

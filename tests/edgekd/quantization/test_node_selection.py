"""Which nodes are chosen is read from the graph: old ways to write a transformer included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.onnx_files import load_onnx
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.node_selection import choose, is_transformer
from edgekd.quantization.static import quantize_int8


def test_elementwise_work_at_the_ends_stays_float(cnn: Path) -> None:
    """The mean of pixels is subtracted in float: in 8 bits it would be wrong by percents."""
    model = prepare(load_onnx(cnn), "cnn")
    chosen = set(choose(model).nodes)
    kinds = {node.op_type: node.name in chosen for node in model.graph.node}
    assert not any(kinds[op] for op in ("Transpose", "Cast", "Sub"))
    assert "Div" not in kinds  # in the weights
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


HYBRID = """(float[batch, 3, 8, 8] x) => (float[batch, 5] y) {
    a = Conv(x, w1)
    r = Relu(a)
    b = Conv(r, w2)
    flat = Reshape(b, rows)
    tokens = Transpose<perm = [0, 2, 1]>(flat)
    n = LayerNormalization(tokens, g)
    v = MatMul(n, w3)
    s = Add(tokens, v)
    back = Transpose<perm = [0, 2, 1]>(s)
    image = Reshape(back, picture)
    c = Conv(image, w4)
    u = Relu(c)
    d = Conv(u, w5)
    p = ReduceMean<axes = [2, 3], keepdims = 0>(d)
    y = MatMul(p, w6)
}"""


def test_convolutions_beside_attention_are_quantized_as_in_a_cnn(
    build: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 1, 1), "w3": (8, 8), "w4": (8, 8, 1, 1)}
    shapes |= {"w5": (8, 8, 1, 1), "w6": (8, 5)}
    weights: dict[str, Any] = {
        **{name: rng.standard_normal(s).astype(np.float32) for name, s in shapes.items()},
        "g": np.ones(8, np.float32),
        "rows": np.array([0, 8, -1], np.int64),
        "picture": np.array([0, 8, 6, 6], np.int64),
    }
    path = build(HYBRID, weights)
    model = prepare(load_onnx(path), "hybrid")
    found = choose(model)
    chosen = [n.output[0] for n in model.graph.node if n.name in found.nodes]
    assert [name for name in chosen if name in "abcdrsuvy"] == [*"arvcudy"]
    assert list(found.left.values()) == ["it writes to the residual stream"]  # the second Conv
    arrays = {"x": rng.standard_normal((8, 3, 8, 8)).astype(np.float32)}
    quantize_int8(path, tmp_path / "m.onnx", lambda: iter([arrays]))
    kernels = int8_layers(tmp_path / "m.onnx")
    assert (kernels.int8_layers, kernels.fp32_layers) == (5, 1)

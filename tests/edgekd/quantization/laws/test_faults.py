"""Faults that the laws found, each by a small graph of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.ort_session import optimized
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.layouts import XNNPACK
from edgekd.quantization.static import quantize_int8

EDGE = """(float[batch, 2, 4] x) => (float[batch, 2, 5] y) {
    y = Pad<mode = "edge", pads = [0, 0, 0, 0, 0, 1], value = -3.0>(x)
}"""
OPSET_21 = """(float[batch, 3, 6, 5] x) => (float[batch, 3, 6, 5, 1] m, int64[n, a, b, c, d] i) {
    a = Conv(x, w)
    b = Conv(a, w)
    u = Unsqueeze(b, axes)
    m, i = MaxPool<auto_pad = "SAME_LOWER", kernel_shape = [3, 2, 1]>(u)
}"""
BETWEEN = """(float[batch, 2, 4, 4] x) => (float[batch, 2, 8, 8] y) {
    a = Conv(x, w)
    u = ConvTranspose<strides = [2, 2]>(a, wide)
    y = Conv(u, w)
}"""


def test_a_pad_that_repeats_the_edge_may_have_a_constant(build: Any) -> None:
    ready = prepare(load_onnx(build(EDGE, {}, opset=9)), "it")
    (pad,) = ready.graph.node
    assert {a.name for a in pad.attribute} == {"mode"}


def test_int8_activations_load_whatever_the_operator_set(
    build: Any, batched: Any, tmp_path: Path
) -> None:
    """ONNX Runtime mistypes nodes that it adds at operator set 21, so the file has 20."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((3, 3, 1, 1)).astype(np.float32), "axes": np.array([-1])}
    feeds = batched({"x": rng.standard_normal((4, 3, 6, 5)).astype(np.float32)}, 4)
    source = build(OPSET_21, weights, opset=21)
    quantize_int8(source, tmp_path / "q.onnx", feeds, layout=XNNPACK)
    assert load_onnx(tmp_path / "q.onnx").opset_import[0].version == 20
    optimized(tmp_path / "q.onnx")


def test_a_float_layer_between_int8_layers_is_not_rounded_behind_our_back(
    build: Any, batched: Any, tmp_path: Path
) -> None:
    """ONNX Runtime rounds its weight with one scale for all channels, if it lies so."""
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((8, 2, 4, 4)).astype(np.float32)
    weight = rng.standard_normal((2, 2, 1, 1)).astype(np.float32)
    wide = np.stack([np.full((2, 2, 2), 100), rng.standard_normal((2, 2, 2))]).astype(np.float32)
    source = build(BETWEEN, {"w": weight, "wide": wide})
    quantize_int8(source, tmp_path / "q.onnx", batched({"x": numbers}, 8))
    graph = optimized(tmp_path / "q.onnx").graph
    (layer,) = (node for node in graph.node if node.op_type == "ConvTranspose")
    assert [n.op_type for n in graph.node].count("QLinearConv") == 2
    assert layer.input[1] in {tensor.name for tensor in graph.initializer}

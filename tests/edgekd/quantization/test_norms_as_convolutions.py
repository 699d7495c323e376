"""A batch norm in front of a convolution becomes one of 1 x 1, and runs in INT8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.onnx_files import load_onnx, save_onnx
from edgekd.exporters.ort_session import predictor
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.makers import calibrate_for
from edgekd.quantization.static import quantize_int8

BEFORE = "n = BatchNormalization(a, g, b, m, v) r = Relu(n) y = Conv(r, w2)"
SCALED = """n = BatchNormalization(a, g, b, m, v) s = Mul(n, k) t = Add(s, k) r = Relu(t)
    y = Conv(r, w2)"""
ELSEWHERE = {
    "in front of no convolution": "n = BatchNormalization(a, g, b, m, v) y = Tanh(n)",
    "its variance is no number": "n = BatchNormalization(a, g, b, m, u) y = Conv(n, w2)",
    "its shift is fed": "n = BatchNormalization(a, g, i, m, v) y = Conv(n, w2)",
}


def source(build: Any, body: str) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.standard_normal((4, 3, 1, 1)),
        "w2": rng.standard_normal((4, 4, 3, 3)),
        "g": rng.standard_normal(4),
        "b": rng.standard_normal(4),
        "m": rng.standard_normal(4),
        "v": rng.random(4) + 0.1,
        "u": np.array([1.0, -1.0, 1.0, 1.0]),
        "k": rng.standard_normal((4, 1, 1)),
    }
    fed = ", float[4] i" if " i," in body else ""
    text = (
        f"(float[batch, 3, 8, 8] x{fed}) => (float[n, c, h, w] y) "
        f"{{ c = Conv(x, w) a = LeakyRelu(c) {body} }}"
    )
    used = {
        n: v.astype(np.float32) for n, v in arrays.items() if f"{n}," in body or f"{n})" in body
    }
    path: Path = build(text, {**used, "w": arrays["w"].astype(np.float32)})
    return path


def samples(count: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    return {"x": rng.standard_normal((count, 3, 8, 8)).astype(np.float32)}


@pytest.mark.parametrize("body", [BEFORE, SCALED])
def test_the_answers_stay_and_it_is_a_convolution(body: str, build: Any, tmp_path: Path) -> None:
    path = source(build, body)
    ready = prepare(load_onnx(path), "it", norms_as_convolutions=True)
    assert [node.op_type for node in ready.graph.node] == [
        "Conv",
        "LeakyRelu",
        "Conv",
        "Relu",
        "Conv",
    ]
    save_onnx(ready, tmp_path / "ready.onnx")
    data = samples(3)
    want, got = (predictor(p)(data)["y"] for p in (path, tmp_path / "ready.onnx"))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_all_of_it_runs_in_int8(build: Any, batched: Any, tmp_path: Path) -> None:
    path, data = source(build, BEFORE), samples(16)
    quantize_int8(path, tmp_path / "int8.onnx", batched(data, 1))
    found = int8_layers(tmp_path / "int8.onnx")
    assert (found.int8_layers, found.fp32_layers) == (3, 0)
    assert (found.quantize_left, found.dequantize_left) == (1, 1)


@pytest.mark.parametrize(
    ("variants", "norms"), [(["int8"], 0), (["int8", "int8-tensorrt"], 1), (["fp16"], 1)]
)
def test_it_stays_where_a_runtime_fuses_it(
    variants: list[Any], norms: int, build: Any, batched: Any
) -> None:
    feeds = batched(samples(2), 1)
    model = calibrate_for(variants, source(build, BEFORE), feeds).model
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == norms


@pytest.mark.parametrize("name", ELSEWHERE)
def test_others_stay_as_they_are(name: str, build: Any) -> None:
    ready = prepare(load_onnx(source(build, ELSEWHERE[name])), "it", norms_as_convolutions=True)
    assert "BatchNormalization" in {node.op_type for node in ready.graph.node}

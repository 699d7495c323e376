"""Laws of `int8-dynamic`: products fuse, and err as rounding to 8 bits by call does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.errors import NothingToDo
from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.ort_session import Level, predictor
from edgekd.quantization.makers import calibrate_for, make
from edgekd.quantization.quantized import QuantizedFacts
from tests.edgekd.quantization.conftest import ATTENTION, Build, random
from tests.edgekd.quantization.conftest import WEIGHTS as PARTS

X = random(6, 8)
WEIGHTS = {
    "w": random(8, 8),
    "u": random(8, 8)[::-1].copy(),
    "v": random(4, 8),
    "b": random(4),
    "one": np.array([1], np.float32),
}
IDIOMS = {  # graphs of other people, and how many of their products become integers
    "factors": ("y) { y = Gemm<alpha = 0.5, beta = 2.0, transB = 1>(x, v, b) }", 1),
    "no bias": ("y) { y = Gemm<transB = 1>(x, v) }", 1),
    "shared input": ("y) { p = MatMul(x, w) q = MatMul(x, u) y = Mul(p, q) }", 2),
    "shared weight, other inputs": ("y) { p = MatMul(x, w) y = MatMul(p, w) }", 2),
    "output used inside": ("p, float[b, 8] y) { p = MatMul(x, w) y = Relu(p) }", 1),
    "names collide": ("y) { x_u8 = MatMul(x, w) x_scale = Relu(x_u8) y = MatMul(x_scale, w) }", 2),
    "weight is an output": ("y, float[8, 8] w) { y = MatMul(x, w) }", 1),
    "three axes": ("y) { s = Unsqueeze(x, axis) y = MatMul(s, w) }", 1),
    "bias in two rows": ("y) { y = Gemm<transB = 1>(x, v, row) }", 1),
    "one of two": (
        "y) { p = MatMul(x, w) q = Transpose<perm = [1, 0]>(x) r = MatMul(q, p) y = Relu(r) }",
        1,
    ),
}


def quantize(source: Path, target: Path, x: Any = X) -> QuantizedFacts:
    calibrated = calibrate_for(["int8-dynamic"], source, lambda: iter([{"x": x}]))
    return make("int8-dynamic", calibrated, target)


def test_the_numbers_are_those_computed_by_hand(build: Build, tmp_path: Path) -> None:
    text = "(float[b, 2] x) => (float[b, 1] y) { y = Gemm<alpha = 2.0>(x, w, c) }"
    source = build(
        text, {"w": np.array([[1.0], [-0.3]], np.float32), "c": np.array([0.25], np.float32)}
    )
    quantize(source, tmp_path / "q.onnx", np.array([[0.0, 5.1]], np.float32))
    # The call has the range -1..4.1, so the scale is 0.02 and the zero point 50; 0.513 is 25.65.
    # The weight is 2 and -0.6 at a scale of 2 / 127, in which -0.6 is -38.1.
    (got,) = predictor(tmp_path / "q.onnx")({"x": np.array([[4.1, -1.0]], np.float32)})["y"]
    assert got == pytest.approx(4.1 * 2 + 38 * 2 / 127 + 0.25, rel=1e-5)
    (got,) = predictor(tmp_path / "q.onnx")({"x": np.array([[5.1, 0.013]], np.float32)})["y"]
    assert got == pytest.approx(5.1 * 2 - 0.02 * 38 * 2 / 127 + 0.25, rel=1e-5)


def test_every_constant_product_of_an_attention_fuses(build: Build, tmp_path: Path) -> None:
    attention = build(ATTENTION, {**PARTS[ATTENTION], "wk": random(8, 8).T.copy()})
    tokens = np.arange(48).reshape(8, 6) % 40
    calibrated = calibrate_for(["int8-dynamic"], attention, lambda: iter([{"tokens": tokens}]))
    facts = make("int8-dynamic", calibrated, tmp_path / "q.onnx")
    assert (facts.layers, facts.weights, facts.activations) == (3, "int8", "uint8 by call")
    found = int8_layers(tmp_path / "q.onnx")
    assert (found.int8_layers, found.fp32_layers) == (3, 2)
    assert "MatMulInteger" not in found.operators
    assert found.operators["DynamicQuantizeMatMul"] + found.operators["MatMulIntegerToFloat"] == 3


@pytest.mark.parametrize("case", IDIOMS)
def test_other_idioms_follow(case: str, build: Build, tmp_path: Path) -> None:
    text, layers = IDIOMS[case]
    shape = "1, b, 8" if case == "three axes" else "b, 4" if "Gemm" in text else "b, 8"
    shape = "8, 8" if case == "one of two" else shape
    first = "b, 8" if text.startswith("p,") else shape
    weights = {n: a for n, a in WEIGHTS.items() if f"{n})" in text or f", {n}" in text}
    weights |= {"axis": np.array([0], np.int64)} if "axis" in text else {}
    weights |= {"row": random(1, 4)} if "row" in text else {}
    source = build(f"(float[b, 8] x) => (float[{first}] {text}", weights)
    assert quantize(source, tmp_path / "q.onnx").layers == layers
    want = predictor(source)({"x": X})
    for level in (Level.ORT_DISABLE_ALL, Level.ORT_ENABLE_ALL):
        got = predictor(tmp_path / "q.onnx", level=level)({"x": X})
        assert list(got) == list(want)
        for name, mine in want.items():
            noise = np.square(mine - got[name]).sum()
            assert noise <= np.square(mine).sum() / 10**3


def test_convolutions_alone_are_nothing_to_do(build: Build, tmp_path: Path) -> None:
    source = build(
        "(float[b, 4, 8, 8] x) => (float[b, 4, 6, 6] y) { y = Conv(x, w) }",
        {"w": random(4, 4, 3, 3)},
    )
    with pytest.raises(NothingToDo, match="no MatMul or Gemm"):
        quantize(source, tmp_path / "q.onnx", random(2, 4, 8, 8))

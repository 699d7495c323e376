"""Laws of `int8-weights` and `int4`: weights are small, all else is float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto

from edgekd.artifact import Variant
from edgekd.errors import NothingToDo
from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.ort_session import Level, optimized, predictor
from edgekd.exporters.shapes import opset_of
from edgekd.quantization import weights_only
from edgekd.quantization.makers import calibrate_for, make
from edgekd.quantization.quantized import QuantizedFacts
from edgekd.quantization.weights_only import round_blocks
from tests.edgekd.quantization.conftest import Build, random

X = random(6, 64)
WEIGHTS: dict[str, NDArray[Any]] = {
    "w": random(64, 64),
    "v": random(64, 64).T * np.exp(random(64)).astype(np.float32),
    "short": random(24, 64),
    "b": random(64),
    "row": random(1, 64),
    "table": random(64, 64) / 2,
    "shape": np.array([0, 2, 32], np.int64),
    "small": random(32, 8),
    "axis": np.array([0], np.int64),
    "turn": random(6, 64),
}
IDIOMS = {  # graphs of other people, and how many of their weights get small
    "factors": ("y) { y = Gemm<alpha = 0.5, beta = 2.0, transB = 1>(x, w, b) }", 1),
    "no bias": ("y) { y = Gemm<transB = 1>(x, w) }", 1),
    "bias as a row": ("y) { y = Gemm(x, w, row) }", 1),
    "shared weight": ("y) { p = MatMul(x, w) y = MatMul(p, w) }", 2),
    "both ways": ("y) { p = MatMul(x, w) y = Gemm<transB = 1>(p, w) }", 2),
    "table": ("y) { i = ArgMax<axis = 1, keepdims = 0>(x) y = Gather(table, i) }", 1),
    "tied table": (
        "y) { i = ArgMax<axis = 1, keepdims = 0>(x) p = Gather(w, i) y = MatMul(p, v) }",
        2,
    ),
    "names collide": (
        "y) { w_int8 = MatMul(x, w) y_weight = Relu(w_int8) y = MatMul(y_weight, v) }",
        2,
    ),
    "weight is an output": ("y, float[64, 64] w) { y = MatMul(x, w) }", 1),
    "small beside": (
        "z, float[b, 2, 8] y) { z = MatMul(x, w) s = Reshape(z, shape) y = MatMul(s, small) }",
        1,
    ),
}


def quantize(variant: Variant, source: Path, target: Path, x: Any = X) -> QuantizedFacts:
    calibrated = calibrate_for([variant], source, lambda: iter([{"x": x}]))
    return make(variant, calibrated, target)


def test_int8_weights_are_those_computed_by_hand(build: Build, tmp_path: Path) -> None:
    weight = np.zeros((32, 32), np.float32)
    weight[0, :3], weight[1, :3] = [127.0, 2.54, -1.0], [1.4, 0.024, 0.25]
    source = build("(float[b, 32] x) => (float[b, 32] y) { y = MatMul(x, w) }", {"w": weight})
    quantize("int8-weights", source, tmp_path / "q.onnx", np.eye(32, dtype=np.float32))
    got = predictor(tmp_path / "q.onnx", level=Level.ORT_DISABLE_ALL)(
        {"x": np.eye(32, dtype=np.float32)}
    )["y"]
    # Scales are 1, 0.02 and 1 / 127: 1.4 is 1, 0.024 is 0.02, and 0.25 is 31.75, so 32 / 127.
    np.testing.assert_allclose(got[0, :3], [127, 2.54, -1], rtol=1e-6)
    np.testing.assert_allclose(got[1, :3], [1, 0.02, 32 / 127], rtol=1e-6)


def test_int4_blocks_are_those_computed_by_hand() -> None:
    weight = np.zeros((64, 2), np.float32)
    weight[:4, 0] = [-8, 7, 3, 0.4]  # exact with -8 as the greatest, but for 0.4
    weight[32:36, 1] = [14, -14, 6, 2]  # exact with 7 as the greatest
    whole, scale = round_blocks(weight)
    np.testing.assert_array_equal(scale, [[1, 1], [1, 2]])
    np.testing.assert_array_equal(whole[:4, 0].astype(int), [-8, 7, 3, 0])
    np.testing.assert_array_equal(whole[32:36, 1].astype(int), [7, -7, 3, 1])
    assert not whole[32:, 0].astype(int).any()


@pytest.mark.parametrize("variant", ["int8-weights", "int4"])
def test_layers_fuse_and_the_file_is_small(variant: Variant, build: Build, tmp_path: Path) -> None:
    text = "(float[b, 64] x) => (float[b, 64] y) { p = MatMul(x, w) y = Gemm(p, v, b) }"
    source = build(text, {name: WEIGHTS[name] for name in "wvb"})
    facts = quantize(variant, source, tmp_path / "q.onnx")
    assert (facts.layers, facts.activations) == (2, "float32")
    operators = [node.op_type for node in optimized(tmp_path / "q.onnx").graph.node]
    assert operators.count("MatMulNBits") == 2
    assert "DequantizeLinear" not in operators
    share = (tmp_path / "q.onnx").stat().st_size / source.stat().st_size
    assert share < (0.3 if variant == "int8-weights" else 0.25)
    model = load_onnx(tmp_path / "q.onnx")
    assert {opset.domain for opset in model.opset_import} == {""}
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    wanted = TensorProto.INT8 if variant == "int8-weights" else TensorProto.INT4
    assert kinds == {TensorProto.FLOAT, wanted}
    assert opset_of(model) == (17 if variant == "int8-weights" else 21)


@pytest.mark.parametrize("variant", ["int8-weights", "int4"])
@pytest.mark.parametrize("case", IDIOMS)
def test_other_idioms_follow(case: str, variant: Variant, build: Build, tmp_path: Path) -> None:
    text, layers = IDIOMS[case]
    used = {
        n: a for n, a in WEIGHTS.items() if f"{n})" in text or f", {n}" in text or f"({n}" in text
    }
    source = build(f"(float[b, 64] x) => (float[b, 64] {text}", used)
    assert quantize(variant, source, tmp_path / "q.onnx").layers == layers
    want = predictor(source)({"x": X})
    least = 10 ** (3.0 if variant == "int8-weights" else 1.5)
    for level in (Level.ORT_DISABLE_ALL, Level.ORT_ENABLE_ALL):
        got = predictor(tmp_path / "q.onnx", level=level)({"x": X})
        assert list(got) == list(want)
        for name, mine in want.items():
            assert np.square(mine - got[name]).sum() <= np.square(mine).sum() / least


@pytest.mark.parametrize("variant", ["int8-weights", "int4"])
@pytest.mark.parametrize(
    "first",
    [
        "a = Gemm(x, w, b) r = Relu(a)",
        "a = Gemm<transB = 1>(x, w, b) r = Relu(a)",
        "a = MatMul(x, w) r = Relu(a)",
        "a = MatMul(x, w) c = Add(b, a) i = Identity(c) r = Relu(i)",
        "a = Gemm(x, w) r = Clip(a, low, high)",
        "a = Gemm(x, w) r = Clip(a, , high)",
        "a = Gemm(x, w) c = Clip(a, low) s = Gemm(c, w) r = Relu(s)",
        "a = Gemm(x, w) r = LeakyRelu(a)",
        "a = Gemm(x, w) c = Relu(a) d = Neg(c) e = Sigmoid(a) r = Add(d, e)",
    ],
)
def test_activations_behind_a_layer_leave_it_fused(
    first: str, variant: Variant, build: Build, tmp_path: Path
) -> None:
    text = f"(float[b, 64] x) => (float[b, 64] y) {{ {first} y = Gemm(r, v) }}"
    weights = WEIGHTS | {"low": np.float32(-0.5), "high": np.float32(6)}
    used = {name: weights[name] for name in ("w", "v", "b", "low", "high") if f"{name}" in text}
    source = build(text, used)
    facts = quantize(variant, source, tmp_path / "q.onnx")
    assert not facts.left
    operators = [node.op_type for node in optimized(tmp_path / "q.onnx").graph.node]
    assert operators.count("MatMulNBits") == facts.layers
    assert "DequantizeLinear" not in operators
    want, got = predictor(source)({"x": X})["y"], predictor(tmp_path / "q.onnx")({"x": X})["y"]
    assert np.square(want - got).sum() <= np.square(want).sum() / 20


def test_a_layer_that_is_not_fused_stays_float(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "(float[b, 64] x) => (float[b, 64] y) { a = Gemm(x, w, b) r = Relu(a) y = Gemm(r, v) }"
    source = build(text, {name: WEIGHTS[name] for name in "wvb"})
    monkeypatch.setattr(weights_only, "find_clips", lambda *_: ())  # as if nobody knew of Relu
    facts = quantize("int8-weights", source, tmp_path / "q.onnx")
    assert facts.layers == 1
    assert [reason.partition(" here")[0][-11:] for reason in facts.left.values()] == ["MatMulNBits"]
    operators = [node.op_type for node in optimized(tmp_path / "q.onnx").graph.node]
    assert "DequantizeLinear" not in operators


def test_what_does_not_fill_blocks_gets_int8_in_an_int4_file(build: Build, tmp_path: Path) -> None:
    text = "(float[b, 24] x) => (float[b, 64] y) { p = MatMul(x, short) y = MatMul(p, w) }"
    source = build(text, {name: WEIGHTS[name] for name in ("short", "w")})
    quantize("int4", source, tmp_path / "q.onnx", random(6, 24))
    model = load_onnx(tmp_path / "q.onnx")
    kinds = [tensor.data_type for tensor in model.graph.initializer]
    assert {TensorProto.INT8, TensorProto.INT4} < set(kinds)


def test_weights_that_are_not_finite_stay(build: Build, tmp_path: Path) -> None:
    broken = WEIGHTS["w"].copy()
    broken[0, 0] = np.inf
    body = "{ p = MatMul(x, w) y = MatMul(x, v) }"
    text = f"(float[b, 64] x) => (float[b, 64] p, float[b, 64] y) {body}"
    source = build(text, {"w": broken, "v": WEIGHTS["v"]})
    facts = quantize("int8-weights", source, tmp_path / "q.onnx")
    assert list(facts.left.values()) == ["its weight is not finite"]
    stored = {tensor.name: tensor for tensor in load_onnx(tmp_path / "q.onnx").graph.initializer}
    assert stored["w"].data_type == TensorProto.FLOAT


def test_convolutions_alone_are_nothing_to_do(build: Build, tmp_path: Path) -> None:
    text = "(float[b, 4, 8, 8] x) => (float[b, 64, 6, 6] y) { y = Conv(x, w) }"
    source = build(text, {"w": random(64, 4, 3, 3)})
    with pytest.raises(NothingToDo, match="no MatMul or Gemm"):
        quantize("int8-weights", source, tmp_path / "q.onnx", random(2, 4, 8, 8))

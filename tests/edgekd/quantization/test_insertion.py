"""What a layer computes is read from its attributes; what is not certain stays float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from edgekd.errors import NothingToDo
from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.onnx_files import load_onnx, save_onnx
from edgekd.exporters.ort_session import Level, predictor
from edgekd.exporters.parity import parity
from edgekd.quantization.layouts import ONNX_RUNTIME
from edgekd.quantization.planning import make_plan
from edgekd.quantization.proof import FloatAnswers, check_follows
from edgekd.quantization.static import calibrate, quantize_int8

RNG = np.random.default_rng(0)


def normal(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def follow(path: Path, arrays: dict[str, Any], target: Path, run: Any) -> tuple[Any, float]:
    """Quantize a file; return what was said, and the least signal-to-noise of an output in dB."""
    facts = quantize_int8(path, target, lambda: iter([arrays]))
    found = parity(predictor(path)(arrays), run(target)(arrays), rtol=1.0).outputs
    return facts, min(output.snr_db for output in found.values())


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1,), (), (1, 1)])
@pytest.mark.parametrize(("alpha", "beta"), [(2.0, 1.0), (1.0, 0.25), (-0.5, 2.0), (1.0, 0.0)])
def test_a_gemm_means_its_alpha_beta_and_bias(
    shape: tuple[int, ...], alpha: float, beta: float, build: Any, as_written: Any, tmp_path: Path
) -> None:
    text = f"""(float[batch, 6] x) => (float[batch, 5] y) {{
        y = Gemm<alpha = {alpha}, beta = {beta}, transB = 1>(x, w, b)
    }}"""
    path = build(text, {"w": normal(5, 6), "b": normal(*shape, scale=5) + np.float32(3)})
    said, snr_db = follow(path, {"x": normal(32, 6)}, tmp_path / "m.onnx", as_written)
    assert (said.layers, int8_layers(tmp_path / "m.onnx").int8_layers) == (1, 1)
    assert snr_db > 30


def test_a_bias_that_differs_from_row_to_row_stays_float(build: Any, tmp_path: Path) -> None:
    text = (
        "(float[3, 6] x) => (float[3, 5] y, float[3, 5] z) { y = Gemm(x, w, b)\n z = MatMul(x, w) }"
    )
    path = build(text, {"w": normal(6, 5), "b": normal(3, 5)})
    said = quantize_int8(path, tmp_path / "m.onnx", lambda: iter([{"x": normal(3, 6)}]))
    assert list(said.left.values()) == ["its bias differs from row to row"]


SHARED = """(float[batch, 4, 5, 5] x) => (float[batch, 4, 5, 5] a, float[batch, 4, 5, 5] b) {
    large = Conv(x, up, bias)
    small = Conv(x, down, bias)
    a = Conv(large, w, bias)
    b = Conv(small, w, bias)
}"""


def test_layers_of_unlike_scales_share_weight_and_bias(
    build: Any, as_written: Any, tmp_path: Path
) -> None:
    weights = {"up": normal(4, 4, 1, 1, scale=50), "down": normal(4, 4, 1, 1, scale=0.02)}
    path = build(SHARED, {**weights, "w": normal(4, 4, 1, 1), "bias": normal(4)})
    arrays = {"x": normal(8, 4, 5, 5)}
    said, snr_db = follow(path, arrays, tmp_path / "m.onnx", as_written)
    assert said.layers == 4
    assert snr_db > 25
    tensors = load_onnx(tmp_path / "m.onnx").graph.initializer
    stored = [t.name for t in tensors if t.data_type == 3 and len(t.dims) == 4]
    assert sorted(stored) == ["down", "up", "w"]  # and each weight once


INSIDE = """(float[batch, 3, 6, 6] x) => (float[batch, 4, 6, 6] map, float[batch, 4, 6, 6] last) {
    map = Conv(x, w)
    q0 = Relu(map)
    scale1 = Conv(q0, v)
    last = Add(scale1, map)
}"""


def test_a_convolution_may_be_an_output_and_be_used_inside(
    build: Any, as_written: Any, tmp_path: Path
) -> None:
    path = build(INSIDE, {"w": normal(4, 3, 1, 1), "v": normal(4, 4, 1, 1)})
    said, snr_db = follow(path, {"x": normal(8, 3, 6, 6)}, tmp_path / "m.onnx", as_written)
    assert said.layers == int8_layers(tmp_path / "m.onnx").int8_layers == 2
    assert snr_db > 25
    names = [node.name for node in load_onnx(tmp_path / "m.onnx").graph.node]
    assert len(names) == len(set(names))


PADDED = """(float[batch, 3, 6, 6] x) => (float[batch, 4, 8, 8] y) {
    a = Conv(x, w)
    p = Pad(a, pads, value)
    y = Conv(p, v)
}"""


@pytest.mark.parametrize("value", [-7.5, 0.0, 1e4, -np.inf, np.finfo(np.float32).min])
def test_a_pad_writes_its_own_constant(
    value: float, build: Any, as_written: Any, tmp_path: Path
) -> None:
    """A constant far beyond the data would leave no grid for the data: then it stays float."""
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    weights = {"w": normal(4, 3, 1, 1), "v": np.abs(normal(4, 4, 1, 1, scale=0.1)), "pads": pads}
    path = build(PADDED, {**weights, "value": np.array(value, np.float32)})
    arrays = {"x": normal(8, 3, 6, 6)}
    said = quantize_int8(path, tmp_path / "m.onnx", lambda: iter([arrays]))
    assert said.layers == (2 if abs(value) < 10 else 1)
    want, got = predictor(path)(arrays)["y"], as_written(tmp_path / "m.onnx")(arrays)["y"]
    inner = np.s_[:, :, 1:-1, 1:-1]
    assert np.abs(want[inner] - got[inner]).max() < 0.1
    np.testing.assert_allclose(got[:, :, 0, 0], want[:, :, 0, 0], rtol=0.05)


def test_a_bias_that_32_bits_cannot_express_stays_float(build: Any, tmp_path: Path) -> None:
    """What differs between two answers is a ten-millionth of them."""
    text = """(float[batch, 4] x) => (float[batch, 2] y, float[batch, 2] z) {
        y = Gemm(x, w, b)
        z = MatMul(x, v)
    }"""
    path = build(
        text, {"w": normal(4, 2, scale=1e-7), "b": np.full(2, 1e5, "f"), "v": normal(4, 2)}
    )
    said = quantize_int8(path, tmp_path / "m.onnx", lambda: iter([{"x": normal(8, 4)}]))
    assert ["bias is too large" in reason for reason in said.left.values()] == [True]


def test_a_layer_that_stays_float_is_not_rounded_around(build: Any, tmp_path: Path) -> None:
    """It lies between two layers in INT8, and is no operator without weights for that."""
    text = """(float[batch, 4] x, float[4, 4] w) => (float[batch, 4] y) {
        a = MatMul(x, v)
        b = MatMul(a, w)
        y = MatMul(b, v)
    }"""
    arrays = {"x": normal(8, 4), "w": normal(4, 4)}
    calibrated = calibrate(build(text, {"v": normal(4, 4)}), lambda: iter([arrays]))
    plan = make_plan(calibrated.model, calibrated.choice, calibrated.ranges("uint8"), ONNX_RUNTIME)
    assert (list(plan.layers), len(plan.reads), set(plan.tensors)) == (
        [node.name for node in calibrated.model.graph.node if "v" in node.input],
        2,
        {"x", "b"},
    )


SPECTRUM = """(float[batch, 1, 64] x) => (float[batch, 8, 50] loud, float[batch, 4, 50] y) {
    parts = Conv(x, basis)
    re, im = Split<axis = 1>(parts, halves)
    re2 = Mul(re, re)
    im2 = Mul(im, im)
    power = Add(re2, im2)
    magnitude = Sqrt(power)
    loud = Log(magnitude)
    y = Conv(magnitude, w)
}"""


def test_a_spectrum_keeps_its_small_values(build: Any, tmp_path: Path) -> None:
    halves = np.array([8, 8], np.int64)
    path = build(SPECTRUM, {"basis": normal(16, 1, 15), "halves": halves, "w": normal(4, 8, 1)})
    said = quantize_int8(path, tmp_path / "m.onnx", lambda: iter([{"x": normal(8, 1, 64)}]))
    assert (said.layers, list(said.left.values())) == (
        1,
        ["its small values matter: a Sqrt follows"],
    )


@pytest.mark.parametrize("between", ["MaxPool<kernel_shape = [2, 2]>", "LeakyRelu"])
def test_a_divisor_keeps_its_small_values(between: str, build: Any, tmp_path: Path) -> None:
    """Rounded to 0 it would make an infinite quotient."""
    text = f"""(float[batch, 3, 6, 6] x) => (float[batch, 2, a, b] y) {{
        a = Conv(x, w)
        p = {between}(a)
        q = Div(one, p)
        y = Conv(q, v)
    }}"""
    arrays = {"w": normal(4, 3, 1, 1), "v": normal(2, 4, 1, 1), "one": np.ones(1, np.float32)}
    said = quantize_int8(
        build(text, arrays), tmp_path / "m.onnx", lambda: iter([{"x": normal(4, 3, 6, 6)}])
    )
    assert list(said.left.values()) == ["its small values matter: a Div follows"]


CAPTURED = """(float[batch, 3, 6, 6] x, bool flag) => (float[batch, 2, 5, 5] y) {
    a = Conv(x, w)
    p = MaxPool<kernel_shape = [2, 2]>(a)
    i = If (flag) <
        then_branch = g1 () => (float[batch, 4, 5, 5] n) { n = Neg(p) },
        else_branch = g2 () => (float[batch, 4, 5, 5] m) { m = Abs(p) }
    >
    y = Conv(i, v)
}"""


def test_what_a_subgraph_reads_stays_float(build: Any, tmp_path: Path) -> None:
    """ONNX Runtime 1.31 aborts the process where a DequantizeLinear comes to lie before it."""
    path = build(CAPTURED, {"w": normal(4, 3, 1, 1), "v": normal(2, 4, 1, 1)})
    arrays = {"x": normal(4, 3, 6, 6), "flag": np.array(True)}
    said = quantize_int8(path, tmp_path / "m.onnx", lambda: iter([arrays]))
    assert (said.layers, list(said.left.values())) == (1, ["a subgraph reads what it gives"])


def test_a_pad_may_name_its_axes(build: Any, tmp_path: Path) -> None:
    """With a list of axes ONNX Runtime's fused graph does not run."""
    text = """(float[batch, 3, 8, 8] x) => (float[batch, 4, a, b] y) {
        a = Conv(x, w)
        p = Pad(a, pads, value, axes)
        y = Conv(p, v)
    }"""
    weights = {"w": normal(4, 3, 1, 1), "v": normal(4, 4, 3, 3), "axes": np.array([-1, 2])}
    weights |= {"pads": np.array([1, 2, 0, 3]), "value": np.array(-7.5, np.float32)}
    path, arrays = build(text, weights, opset=18), {"x": normal(16, 3, 8, 8)}
    assert quantize_int8(path, tmp_path / "q.onnx", lambda: iter([arrays])).layers == 2
    want, got = (
        predictor(file, level=Level.ORT_DISABLE_ALL)(arrays)["y"]
        for file in (path, tmp_path / "q.onnx")
    )
    assert np.square(want).sum() > 1000 * np.square(want - got).sum()


def test_a_softmax_never_leaves_its_range(build: Any, tmp_path: Path, saturates: bool) -> None:
    """ONNX Runtime's kernel gives 0 for values above it."""
    text = """(float[batch, 3, 4, 4] x) => (float[batch, 2, 4, 4] y) {
        a = Conv(x, w)
        s = Softmax<axis = -1>(a)
        y = Conv(s, v)
    }"""
    path, target = build(text, {"w": normal(4, 3, 1, 1), "v": normal(2, 4, 1, 1)}), "q.onnx"
    weak = {"x": normal(8, 3, 4, 4, scale=0.01)}
    quantize_int8(path, tmp_path / target, lambda: iter([weak]))
    strong = {"x": weak["x"] + np.eye(4, dtype=np.float32) * 0.02}
    levels = [Level.ORT_DISABLE_ALL, *([] if saturates else [Level.ORT_ENABLE_ALL])]
    want = predictor(path)(strong)["y"]
    for level in levels:
        got = predictor(tmp_path / target, level=level)(strong)["y"]
        assert np.abs(got - want).max() < 0.05


def test_a_sparse_weight_is_quantized_as_any_other(build: Any, tmp_path: Path) -> None:
    text = "(float[batch, 3] x) => (float[batch, 2] y) { y = MatMul(x, w) }"
    model = load_onnx(build(text, {"w": normal(3, 2)}))
    values = numpy_helper.from_array(np.array([2, -3], np.float32), "w")
    index = numpy_helper.from_array(np.array([1, 4], np.int64), "index")
    del model.graph.initializer[:]
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, index, [3, 2]))
    save_onnx(model, tmp_path / "f.onnx")
    arrays = {"x": normal(8, 3)}
    assert quantize_int8(tmp_path / "f.onnx", tmp_path / "q.onnx", lambda: iter([arrays])).layers
    want, got = (predictor(tmp_path / n)(arrays)["y"] for n in ("f.onnx", "q.onnx"))
    assert np.abs(want - got).max() < 0.1


def test_a_graph_that_does_not_follow_is_not_a_file(cnn: Path, pictures: Any, batched: Any) -> None:
    calibrated = calibrate(cnn, batched(pictures, 8))
    answers = FloatAnswers(calibrated.model, calibrated.judged, name="m.onnx")
    wrong = onnx.ModelProto()
    wrong.CopyFrom(calibrated.model)
    gemm = next(node for node in wrong.graph.node if node.op_type == "Gemm")
    del gemm.attribute[:]
    gemm.attribute.extend(onnx.helper.make_node("Gemm", [], [], alpha=-1.0, transB=1).attribute)
    with pytest.raises(NothingToDo, match="does not follow the float file"):
        check_follows(wrong, answers)
    del wrong.graph.initializer[:]
    with pytest.raises(NothingToDo, match="does not run in ONNX Runtime"):
        check_follows(wrong, answers)

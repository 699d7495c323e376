"""Laws of `fp16`: inputs and outputs stay float32, and nothing exceeds what float16 holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from edgekd.errors import NothingToDo
from edgekd.exporters.onnx_files import load_onnx, save_onnx
from edgekd.exporters.ort_session import Level, open_session, predictor, run
from edgekd.quantization.half import convert
from edgekd.quantization.half_selection import choose_half
from edgekd.quantization.makers import calibrate_for, make
from edgekd.quantization.quantized import QuantizedFacts
from tests.edgekd.quantization.conftest import Build, random
from tests.edgekd.quantization.random_graphs import SAMPLES, random_graph

Arrays = Mapping[str, NDArray[Any]]

X = random(6, 4) * 3
W = random(4, 4)
PRODUCT = "m = MatMul(x, w)"
STAYS: dict[str, tuple[str, dict[str, NDArray[Any]], str, str]] = {
    # what follows a product; weights; the node that must stay float32; a word of the reason
    "large": ("y = Mul(m, f)", {"f": np.array([9e3], np.float32)}, "Mul", "reaches"),
    "constant": ("y = Mul(m, f)", {"f": np.array([1e5], np.float32)}, "Mul", "beyond 65,504"),
    "mask": (
        "b = Mul(m, f) a = Add(b, mask) y = Softmax(a)",
        {"f": np.array([2], np.float32), "mask": np.array([0, 0, 0, -3.4e38], np.float32)},
        "Softmax",
        "reaches",
    ),
    "epsilon": (
        "b = Mul(m, m) y = Add(b, e)",
        {"e": np.array(1e-12, np.float32)},
        "Add",
        "would vanish",
    ),
    "norm": (
        "b = Mul(m, f) y = LayerNormalization(b, g)",
        {"f": np.array([50], np.float32), "g": np.ones(4, np.float32)},
        "LayerNormalization",
        "squares",
    ),
    "square": (
        "b = Mul(m, f) y = Pow(b, two)",
        {"f": np.array([50], np.float32), "two": np.array([2], np.float32)},
        "Pow",
        "reaches",
    ),
    "sum": (
        "b = Mul(m, f) d = Neg(b) c = Concat<axis = 1>(b, d, b, d) y = ReduceSum(c, axis)",
        {"f": np.array([600], np.float32), "axis": np.array([1], np.int64)},
        "ReduceSum",
        "sums 16 values",
    ),
    "exp": ("b = Clip(m, , f) y = Exp(b)", {"f": np.array(9, np.float32)}, "Exp", "exponential"),
    "log": ("b = Abs(m) y = Log(b)", {}, "Log", "small values"),
    "ratio": (
        "b = Abs(m) c = Add(b, f) y = Div(m, c)",
        {"f": np.array([1], np.float32)},
        "Div",
        "small values",
    ),
}
FINE = {  # other people's idioms: outputs and inputs keep names and types, answers follow
    "weight is an output": "float[b, 4] y, float[4, 4] w) { y = MatMul(x, w) }",
    "shared weight": "float[b, 4] y, float[4, 4] z) { y = MatMul(x, v) z = Log(v) }",
    "output used inside": "float[b, 4] m, float[b, 4] y) { m = MatMul(x, w) y = Relu(m) }",
    "names collide": """float[b, 4] y) {
        x_half = MatMul(x, w)
        cast_half = Relu(x_half)
        y = MatMul(cast_half, w)
    }""",
    "subgraph": """float[b, 4] y) {
        m = MatMul(x, w)
        n = ReduceMax<keepdims = 0>(m)
        c = Greater(n, zero)
        y = If (c) <then_branch = g1 () => (float[b, 4] p) { p = Mul(m, m) },
                    else_branch = g2 () => (float[b, 4] q) { q = Neg(m) }>
    }""",
    "double beside": "double[b, 4] y) { m = MatMul(x, w) y = Cast<to = 11>(m) }",
    "indices": """int64[b] y, float[b, 4] z) {
        m = MatMul(x, w)
        y = ArgMax<axis = 1, keepdims = 0>(m)
        z = Gather(w, y)
    }""",
    "resize": """float[b, 1, 4, 4] y) {
        m = MatMul(x, w)
        s = Reshape(m, shape)
        y = Resize<mode = "linear">(s, , scales)
    }""",
    "lstm": """float[b, 1, 1, 4] y) {
        s = Reshape(x, steps)
        y, h, c = LSTM<hidden_size = 4>(s, wi, wr)
    }""",
    "optional inputs": "float[b, 4] y) { m = MatMul(x, w) y = Clip(m, , top) }",
    "empty": "float[b, 0] y) { m = MatMul(x, w) y = Slice(m, none, none, one) }",
}
OTHERS: dict[str, NDArray[Any]] = {
    "w": W,
    "v": np.abs(W) + 1,
    "none": np.array([0], np.int64),
    "one": np.array([1], np.int64),
    "zero": np.array(0, np.float32),
    "top": np.array(2, np.float32),
    "shape": np.array([0, 1, 2, 2], np.int64),
    "scales": np.array([1, 1, 2, 2], np.float32),
    "steps": np.array([0, 1, 4], np.int64),
    "wi": random(1, 16, 4),
    "wr": random(1, 16, 4, scale=0.5),
}


def halve(source: Path, target: Path, x: Arrays) -> tuple[QuantizedFacts, ModelProto]:
    calibrated = calibrate_for(["fp16"], source, lambda: iter([dict(x)]))
    facts = make("fp16", calibrated, target)
    return facts, load_onnx(target)


def follows(want: Arrays, got: Arrays, *, least_db: float = 40.0) -> bool:
    assert set(want) == set(got)
    for name, mine in want.items():
        assert mine.dtype == got[name].dtype
        noise = np.square(mine.astype(float) - got[name]).sum()
        if noise and 10 * np.log10(np.square(mine.astype(float)).sum() / noise) < least_db:
            return False
    return True


def test_the_numbers_are_those_computed_by_hand(build: Build, tmp_path: Path) -> None:
    text = "(float[b, 2] x) => (float[b, 1] y) { y = MatMul(x, w) }"
    source = build(text, {"w": np.array([[1.0], [1.0]], np.float32)})
    x = {"x": np.array([[2049.0, 1.0], [0.1, 0.0]], np.float32)}
    facts, _ = halve(source, tmp_path / "h.onnx", x)
    # From 2048 on float16 has even numbers only, and 2048 + 1 is 2048 again; 0.1 is 1638 / 2^14.
    # ONNX Runtime's CPU kernels would compute it in float32 and leave the roundings out.
    calibrated = calibrate_for(["fp16"], source, lambda: iter([x]))
    choice = choose_half(calibrated.model, calibrated.magnitude)
    session = open_session(convert(calibrated.model, choice, rounds=True).SerializeToString())
    (got,) = run(session, ["y"], x, name="it")
    np.testing.assert_array_equal(got, np.array([[2048.0], [1638 / 2**14]], np.float32))
    assert (facts.layers, facts.weights, facts.activations) == (1, "float16", "float16")


@pytest.mark.parametrize("case", STAYS)
def test_what_float16_cannot_hold_stays(case: str, build: Build, tmp_path: Path) -> None:
    tail, weights, operator, word = STAYS[case]
    shape = "" if case == "sum" else "[b, 4]"
    source = build(
        f"(float[b, 4] x) => (float{shape} y) {{ {PRODUCT} {tail} }}", {"w": W, **weights}
    )
    facts, model = halve(source, tmp_path / "h.onnx", {"x": X})
    why = next(why for name, why in facts.left.items() if operator in name)
    assert word in why
    types = {node.op_type: node for node in model.graph.node}
    assert types["MatMul"].input[1] == "w_half"
    assert not any(name.endswith("_half") for name in types[operator].input)
    want, got = predictor(source)({"x": X}), predictor(tmp_path / "h.onnx")({"x": X})
    assert follows(want, got, least_db=30)


@pytest.mark.parametrize("case", FINE)
def test_other_idioms_keep_inputs_and_outputs(case: str, build: Build, tmp_path: Path) -> None:
    text = "(float[b, 4] x) => (" + FINE[case]
    used = {name: a for name, a in OTHERS.items() if re.search(rf"\b{name}[,)]", text)}
    source = build(text, used)
    facts, model = halve(source, tmp_path / "h.onnx", {"x": X})
    before = load_onnx(source)
    assert list(model.graph.output) == list(before.graph.output)
    assert list(model.graph.input) == list(before.graph.input)
    assert facts.layers >= 1
    for level in (Level.ORT_DISABLE_ALL, Level.ORT_ENABLE_ALL):
        got = predictor(tmp_path / "h.onnx", level=level)({"x": X})
        assert follows(predictor(source)({"x": X}), got)


def test_a_network_of_pictures_is_half_as_large(cnn: Path, pictures: Any, tmp_path: Path) -> None:
    facts, model = halve(cnn, tmp_path / "h.onnx", pictures)
    assert (facts.layers, facts.left) == (3, {})
    floats = [t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    assert floats == ["mean"]
    assert follows(predictor(cnn)(pictures), predictor(tmp_path / "h.onnx")(pictures))
    assert [node.op_type for node in model.graph.node[:2]] == ["Cast", "Transpose"]


def test_without_a_layer_in_float32_there_is_nothing_to_do(build: Build, tmp_path: Path) -> None:
    source = build("(float[b, 4] x) => (float[b, 4] y) { y = Relu(x) }", {})
    with pytest.raises(NothingToDo, match="no layer"):
        halve(source, tmp_path / "h.onnx", {"x": X})


@pytest.mark.parametrize("start", [0, 5])
def test_random_graphs_follow(start: int, tmp_path: Path) -> None:
    done = 0
    for seed in range(start, start + 5):
        model, arrays = random_graph(seed)
        save_onnx(model, tmp_path / "f.onnx")
        one = [{"x": arrays["x"][i : i + 1], "flag": arrays["flag"]} for i in range(SAMPLES)]
        calibrated = calibrate_for(["fp16"], tmp_path / "f.onnx", partial(iter, one))
        try:
            make("fp16", calibrated, tmp_path / "h.onnx")
        except NothingToDo:
            continue
        got = predictor(tmp_path / "h.onnx")(arrays)
        assert follows(predictor(tmp_path / "f.onnx")(arrays), got, least_db=25), seed
        done += 1
    assert done >= 3

"""Hard-swish, gates and additions of constants are computed by kernels of ONNX Runtime in INT8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.parity import parity
from edgekd.quantization.static import quantize_int8

BODIES = {
    "operator": "h = HardSwish(a)",
    "divided": "c = Add(a, three) z = Clip(c, zero, six) m = Mul(a, z) h = Div(m, six)",
    "multiplied": "c = Add(three, a) z = Clip(c, zero, six) m = Mul(z, a) h = Mul(m, sixth)",
    "number first": "c = Add(a, shift) m = Mul(sixth, c) h = HardSigmoid<beta = 0.0>(m)",
    "lower": "h = HardSigmoid<alpha = 0.5, beta = -0.1>(a)",
    "gate": """p = GlobalAveragePool(a) e = Conv(p, w1) r = Relu(e) g = Conv(r, w1)
        s = HardSigmoid<alpha = 0.1666667, beta = 0.5>(g) h = Mul(s, a)""",
    "sigmoid gate": """p = GlobalAveragePool(a) e = Conv(p, w1) r = Relu(e) g = Conv(r, w1)
        s = Sigmoid(g) h = Mul(a, s)""",
    "constants": "c = Add(a, shift) h = Mul(factor, c)",
}


@pytest.mark.parametrize("body", BODIES)
def test_nothing_is_left_in_float(
    body: str, build: Any, batched: Any, as_written: Any, saturates: bool, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    text = f"""(float[batch, 8, 8, 8] x) => (float[batch, 16, 8, 8] y) {{
        a = Conv<pads = [1, 1, 1, 1]>(x, w, b)
        {BODIES[body]}
        y = Conv<pads = [1, 1, 1, 1]>(h, v)
    }}"""
    weights = {
        "w": rng.normal(0, 0.3, (16, 8, 3, 3)),
        "b": rng.normal(0, 1, 16),
        "v": rng.normal(0, 0.1, (16, 16, 3, 3)),
        "w1": rng.normal(0, 0.5, (16, 16, 1, 1)),
        "shift": rng.normal(0, 1, (1, 16, 1, 1)),
        "factor": rng.normal(0, 1, (16, 1, 1)),
        **{"three": 3, "zero": 0, "six": 6, "sixth": 1 / 6},
    }
    used = {
        n: np.asarray(v, np.float32) for n, v in weights.items() if f"{n})" in text or n in text
    }
    arrays = {"x": rng.standard_normal((16, 8, 8, 8)).astype(np.float32)}
    source, target = build(text, used), tmp_path / "q.onnx"
    facts = quantize_int8(source, target, batched(arrays, 8))
    found = int8_layers(target)
    assert (found.quantize_left, found.dequantize_left, found.fp32_layers) == (1, 1, 0)
    assert facts.layers == (4 if "gate" in body else 2)
    for run in [as_written, predictor] if not saturates else [as_written]:
        assert (
            parity(predictor(source)(arrays), run(target)(arrays), rtol=1).outputs["y"].snr_db > 25
        )


def test_a_product_with_one_number_costs_nothing(build: Any, batched: Any, tmp_path: Path) -> None:
    text = """(float[batch, 2, 4, 4] x) => (float[batch, 2, 4, 4] y) {
        a = Conv(x, w)
        s = Add(a, x2)
        h = Mul(s, sixth)
        y = Conv(h, w)
        x2 = Conv(x, w)
    }"""
    lines = text.splitlines()
    text = "\n".join([lines[0], lines[5], *lines[1:5], lines[6]])
    weights = {
        "w": np.array([[[[1]], [[2]]], [[[-1]], [[1]]]], np.float32),
        "sixth": np.array(1 / 6, np.float32),
    }
    arrays = {"x": np.random.default_rng(0).standard_normal((8, 2, 4, 4)).astype(np.float32)}
    quantize_int8(build(text, weights), tmp_path / "q.onnx", batched(arrays, 8))
    graph = load_onnx(tmp_path / "q.onnx").graph
    assert "Mul" not in {node.op_type for node in graph.node}
    by_input = {n.input[0]: n for n in graph.node}
    (rounded,) = (n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "h")
    read = by_input[rounded.output[0]]
    scales = {t.name: t for t in graph.initializer}
    before, after = (
        np.frombuffer(scales[n.input[1]].raw_data, np.float32).item() for n in (rounded, read)
    )
    assert after == pytest.approx(before / 6, rel=1e-6)


@pytest.mark.parametrize(("act", "stays"), [("HardSwish", True), ("Relu", False)])
def test_a_first_convolution_stays_float_only_beside_a_gate(
    act: str, stays: bool, build: Any, batched: Any, tmp_path: Path
) -> None:
    text = f"""(float[batch, 3, 8, 8] x) => (float[batch, 8, 8, 8] y) {{
        a = Conv<pads = [1, 1, 1, 1]>(x, w) h = {act}(a)
        b = Conv<pads = [1, 1, 1, 1]>(h, v) g = {act}(b)
        y = Conv<pads = [1, 1, 1, 1]>(g, v)
    }}"""
    rng = np.random.default_rng(0)
    shapes = {"w": (8, 3, 3, 3), "v": (8, 8, 3, 3)}
    weights = {n: rng.normal(0, 0.3, s).astype(np.float32) for n, s in shapes.items()}
    arrays = {"x": rng.standard_normal((8, 3, 8, 8)).astype(np.float32)}
    facts = quantize_int8(build(text, weights), tmp_path / "q.onnx", batched(arrays, 8))
    assert (facts.layers, len(facts.left)) == ((2, 1) if stays else (3, 0))
    assert int8_layers(tmp_path / "q.onnx").quantize_left == 1

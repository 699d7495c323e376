"""Depthwise layers get a multiple of 16 channels, and the graph computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.parity import parity
from edgekd.quantization.static import quantize_int8

BODIES = {
    "r = HardSwish(b) d = Conv<group = 40, pads = [1, 1, 1, 1]>(r, dw, bias) y = Conv(d, out)": 48,
    """d = Conv<group = 40, pads = [1, 1, 1, 1]>(b, dw) p = GlobalAveragePool(d)
        g = Conv(p, small) s = Sigmoid(g) e = Conv(s, large) t = HardSigmoid(e) m = Mul(d, t)
        y = Conv(m, out)""": 48,
    "d = Conv<group = 40, pads = [1, 1, 1, 1]>(b, dw) m = Add(d, b) y = Conv(m, out)": 48,
    # Not where more than layers read the channels, or one number is not for all of them.
    "y = Conv<group = 40, pads = [1, 1, 1, 1]>(b, dw)": 40,
    """d = Conv<group = 40, pads = [1, 1, 1, 1]>(b, dw) r = Relu(d) m = Mul(r, channel)
        y = Conv(m, out)""": 40,
    """d = Conv<group = 40, pads = [1, 1, 1, 1]>(b, dw) c = Concat<axis = 1>(d, b)
        y = Conv(c, both)""": 40,
    """d = Conv<group = 40, pads = [1, 1, 1, 1]>(b, dw) s = Softmax<axis = 1>(d)
        y = Conv(s, out)""": 40,
}


@pytest.mark.parametrize("body", BODIES)
def test_channels_are_added_where_layers_alone_read_them(
    body: str, build: Any, batched: Any, as_written: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    shapes = {"w": (40, 8, 1, 1), "dw": (40, 1, 3, 3), "out": (8, 40, 1, 1), "bias": (40,)}
    shapes |= {"small": (4, 40, 1, 1), "large": (40, 4, 1, 1), "both": (8, 80, 1, 1)}
    shapes |= {"channel": (40, 1, 1)}
    text = f"""(float[batch, 8, 6, 6] x) => (float[batch, c, 6, 6] y) {{
        a = Conv(x, w, bias) b = Relu(a) {body}
    }}"""
    weights = {
        name: rng.normal(0, 0.4, shape).astype(np.float32)
        for name, shape in shapes.items()
        if f" {name})" in text or f" {name}," in text
    }
    arrays = {"x": rng.standard_normal((8, 8, 6, 6)).astype(np.float32)}
    source, target = build(text, weights), tmp_path / "q.onnx"
    quantize_int8(source, target, batched(arrays, 8))
    layers = [node for node in load_onnx(target).graph.node if node.op_type == "Conv"]
    groups = [a.i for node in layers for a in node.attribute if a.name == "group" and a.i > 1]
    assert groups == [BODIES[body]]
    found = parity(as_written(source)(arrays), as_written(target)(arrays), rtol=1).outputs["y"]
    assert found.snr_db > 25
    assert int8_layers(target).fp32_layers == 0

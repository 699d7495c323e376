"""Ten small graphs with features that exporters write and tools forget, each with its samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

SAMPLES = 96

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class OddGraph:
    """A graph as text, and what it needs."""

    text: str
    weights: Mapping[str, tuple[int, ...]]
    """Shape of each weight; its values are normal, scaled by the number of inputs."""
    samples: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: {"x": (3, 24, 24)})
    """Shape of one sample of each input."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 17

    def build(self) -> tuple[ModelProto, Arrays]:
        """Return the model and its samples."""
        rng = np.random.default_rng(len(self.text))
        model: ModelProto = onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["": {self.opset}]> odd {self.text}'
        )
        arrays = {
            name: (rng.standard_normal(shape) / _spread(shape)).astype(np.float32)
            for name, shape in self.weights.items()
        }
        arrays |= {name: np.asarray(value) for name, value in self.constants.items()}
        model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in arrays.items())
        level = rng.standard_normal((SAMPLES, 1))
        samples = {
            name: (
                rng.standard_normal((SAMPLES, *shape)) + level.reshape(-1, *[1] * len(shape))
            ).astype(np.float32)
            for name, shape in self.samples.items()
        }
        return model, samples


def _spread(shape: tuple[int, ...]) -> float:
    """Return what keeps sums over the inputs of a weight as large as one of them."""
    inputs = shape[1:] if len(shape) > 2 else shape[:1]
    return float(np.sqrt(np.prod(inputs))) if len(shape) > 1 else 2.0


_BODY = {"w1": (32, 3, 3, 3), "w2": (64, 32, 3, 3), "w3": (64, 64, 3, 3), "w": (64, 10), "b": (10,)}
_CONVS = """
    a = Conv<pads = [1, 1, 1, 1]>(x, w1)
    r = Relu(a)
    c = Conv<pads = [1, 1, 1, 1]>(r, w2)
    s = Relu(c)
    d = Conv<pads = [1, 1, 1, 1]>(s, w3)
    t = Relu(d)"""
_HEAD = """
    p = GlobalAveragePool(t)
    f = Flatten(p)
    y = Gemm(f, w, b)"""
_IMAGE = "(float[batch, 3, 24, 24] x)"

ODD: Mapping[str, OddGraph] = {
    "side outputs": OddGraph(
        f"{_IMAGE} => (float[batch, 10] y, float[batch, 32, 24, 24] r, float[batch, 64] f)"
        f"{{{_CONVS}{_HEAD}\n}}",
        _BODY,
    ),
    "output used inside": OddGraph(
        f"{_IMAGE} => (float[batch, 64, 24, 24] c, float[batch, 10] y){{{_CONVS}{_HEAD}\n}}", _BODY
    ),
    "fixed batch of 4": OddGraph(
        f"(float[4, 3, 24, 24] x) => (float[4, 10] y){{{_CONVS}{_HEAD}\n}}", _BODY
    ),
    "NHWC": OddGraph(
        """(float[batch, 24, 24, 3] image) => (float[batch, 24, 24, 64] map, float[batch, 10] y){
    x = Transpose<perm = [0, 3, 1, 2]>(image)"""
        f"{_CONVS}{_HEAD}\n    map = Transpose<perm = [0, 2, 3, 1]>(t)\n}}",
        _BODY,
        {"image": (24, 24, 3)},
    ),
    "recurrent state": OddGraph(
        """(float[batch, 40, 64] x) => (float[batch, 128] y, float[1, batch, 128] state) {
    e = MatMul(x, w1)
    r = Relu(e)
    t = Transpose<perm = [1, 0, 2]>(r)
    all, state, cell = LSTM<hidden_size = 128>(t, wi, wr)
    last = Squeeze(state, axis)
    y = MatMul(last, w2)
}""",
        {"w1": (64, 256), "wi": (1, 512, 256), "wr": (1, 512, 128), "w2": (128, 128)},
        {"x": (40, 64)},
        {"axis": np.array([0])},
    ),
    "an If": OddGraph(
        f"""{_IMAGE} => (float[batch, 10] y) {{{_CONVS}
    mean = ReduceMean<keepdims = 0>(x)
    loud = Greater(mean, level)
    u = If (loud) <
        then_branch = g1 () => (float[batch, 64, 24, 24] n) {{ n = Mul(t, half) }},
        else_branch = g2 () => (float[batch, 64, 24, 24] m) {{ m = Identity(t) }}
    >
    p = GlobalAveragePool(u)
    f = Flatten(p)
    y = Gemm(f, w, b)
}}""",
        _BODY,
        constants={"half": np.array(0.5, np.float32), "level": np.array(0.3, np.float32)},
    ),
    "names that end in digits": OddGraph(
        """(float[batch, 3, 24, 24] input0) => (float[batch, 10] scale1) {
    dq1 = Conv<pads = [1, 1, 1, 1]>(input0, weight0)
    q2 = Relu(dq1)
    q1 = Conv<pads = [1, 1, 1, 1]>(q2, weight1)
    zero0 = Relu(q1)
    scale0 = GlobalAveragePool(zero0)
    q1_quantized = Flatten(scale0)
    scale1 = Gemm(q1_quantized, q0, bias0)
}""",
        {"weight0": (64, 3, 3, 3), "weight1": (64, 64, 3, 3), "q0": (64, 10), "bias0": (10,)},
        {"input0": (3, 24, 24)},
    ),
    "one bias and weight for several": OddGraph(
        f"""{_IMAGE} => (float[batch, 10] y) {{
    a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
    r = Relu(a)
    c = Conv<pads = [1, 1, 1, 1]>(r, w2, b1)
    s = Relu(c)
    d = Conv<pads = [1, 1, 1, 1]>(s, w2, b1)
    t = Relu(d)
    u = Add(s, t)
    p = GlobalAveragePool(u)
    f = Flatten(p)
    y = Gemm<beta = 0.5>(f, w, b)
}}""",
        {"w1": (64, 3, 3, 3), "w2": (64, 64, 3, 3), "b1": (64,), "w": (64, 10), "b": (10,)},
    ),
    "a convolution and its arg max": OddGraph(
        f"{_IMAGE} => (float[batch, 10, 24, 24] y, int64[batch, 24, 24] mask) {{{_CONVS}"
        "\n    y = Conv(t, wo)\n    mask = ArgMax<axis = 1, keepdims = 0>(y)\n}",
        {**{n: _BODY[n] for n in ("w1", "w2", "w3")}, "wo": (10, 64, 1, 1)},
    ),
    "two inputs, operator set 11": OddGraph(
        f"""(float[batch, 3, 24, 24] x, float[batch, 64] extra) => (float[batch, 10] y) {{{_CONVS}
    n = BatchNormalization(t, g, g, g, v)
    p = GlobalAveragePool(n)
    f = Flatten(p)
    h = Add(f, extra)
    y = Gemm(h, w, b)
}}""",
        {**_BODY, "g": (64,)},
        {"x": (3, 24, 24), "extra": (64,)},
        {"v": np.ones(64, np.float32)},
        opset=11,
    ),
}


def builders() -> dict[str, Callable[[], tuple[ModelProto, Arrays]]]:
    """Return what builds each graph, by name."""
    return {name: graph.build for name, graph in ODD.items()}

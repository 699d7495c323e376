"""Small float graphs with random weights, written in ONNX's text form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from edgekd.data.dataset import Arrays
from edgekd.exporters.onnx_files import save_onnx
from edgekd.exporters.ort_session import Level, predictor

Build = Callable[..., Path]
Feeds = Callable[[], Iterator[Arrays]]
Predict = Callable[[Arrays], Arrays]

CNN = """(uint8[batch, 16, 16, 3] image) => (float[batch, 5] logits) {
    t = Transpose<perm = [0, 3, 1, 2]>(image)
    f = Cast<to = 1>(t)
    c = Sub(f, mean)
    x = Div(c, std)
    a = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w1, b1)
    r = Clip(a, low, high)
    d = Conv<pads = [1, 1, 1, 1], group = 16>(r, w2, b2)
    n = BatchNormalization(d, g, b2, m, v)
    s = Add(r, n)
    u = Relu(s)
    p = GlobalAveragePool(u)
    e = Flatten(p)
    logits = Gemm<transB = 1>(e, w3, b3)
}"""

ATTENTION = """(int64[batch, sequence] tokens) => (float[batch, sequence, 4] y) {
    x = Gather(table, tokens)
    h = LayerNormalization(x, g, b)
    q = MatMul(h, wq)
    k = MatMul(h, wk)
    kt = Transpose<perm = [0, 2, 1]>(k)
    s = MatMul(q, kt)
    a = Softmax<axis = -1>(s)
    o = MatMul(a, h)
    r = Add(o, h)
    z = MatMul(r, wo)
    y = Add(z, bo)
}"""

DETECTOR = """(float[batch, 3, 8, 8] image) => (float[batch, 6, 64] found) {
    a = Conv<pads = [1, 1, 1, 1]>(image, w1)
    r = Relu(a)
    boxes = Conv(r, w2)
    scores = Conv(r, w3)
    bounded = Sigmoid(scores)
    both = Concat<axis = 1>(boxes, bounded)
    found = Reshape(both, shape)
}"""


def random(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
    """Return normal numbers that depend on the shape alone."""
    numbers = np.random.default_rng(list(shape)).standard_normal(shape)
    return (numbers * scale).astype(np.float32)


WEIGHTS: dict[str, dict[str, NDArray[Any]]] = {
    CNN: {
        "mean": np.array([120, 110, 100], np.float32).reshape(3, 1, 1),
        "std": np.array([60, 61, 62], np.float32).reshape(3, 1, 1),
        "w1": random(16, 3, 3, 3, scale=0.3),
        "b1": random(16),
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
        "w2": random(16, 1, 3, 3, scale=0.5),
        "b2": random(16, scale=0.5),
        "g": random(16) ** 2 + 0.5,
        "m": random(16, scale=0.1),
        "v": random(16) ** 2 + 0.5,
        "w3": random(5, 16),
        "b3": random(5),
    },
    ATTENTION: {
        "table": random(40, 8),
        "g": random(8, scale=0.1) + 1,
        "b": random(8, scale=0.1),
        "wq": random(8, 8),
        "wk": random(8, 8),
        "wo": random(8, 4),
        "bo": random(4),
    },
    DETECTOR: {
        "w1": random(8, 3, 3, 3),
        "w2": random(4, 8, 1, 1, scale=300),
        "w3": random(2, 8, 1, 1, scale=0.1),
        "shape": np.array([0, 6, 64], np.int64),
    },
}


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return a function that writes a graph with its weights to a file."""

    def built(
        text: str, weights: Mapping[str, NDArray[Any]] | None = None, *, opset: int = 17
    ) -> Path:
        model: ModelProto = onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["": {opset}]> g {text}'
        )
        tensors = WEIGHTS[text] if weights is None else weights
        model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in tensors.items())
        path = tmp_path_factory.mktemp("graph") / "model.onnx"
        save_onnx(model, path)
        return path

    return built


@pytest.fixture(scope="session")
def cnn(build: Build) -> Path:
    return build(CNN)


@pytest.fixture(scope="session")
def attention(build: Build) -> Path:
    return build(ATTENTION)


@pytest.fixture(scope="session")
def detector(build: Build) -> Path:
    return build(DETECTOR)


def images(count: int) -> Arrays:
    """Return random pictures."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3))
    return {"image": pixels.astype(np.uint8)}


def batches(arrays: Arrays, size: int, order: NDArray[np.int64] | None = None) -> Feeds:
    """Return feeds that give all samples in batches, in an order."""
    count = len(next(iter(arrays.values())))
    index = np.arange(count) if order is None else order

    def feeds() -> Iterator[Arrays]:
        for start in range(0, count, size):
            yield {name: array[index[start : start + size]] for name, array in arrays.items()}

    return feeds


@pytest.fixture(scope="session")
def pictures() -> Arrays:
    return images(24)


@pytest.fixture(scope="session")
def batched() -> Callable[..., Feeds]:
    return batches


def predictor_as_written(path: Path) -> Predict:
    """Run a Q/DQ file by its own arithmetic: nothing is fused, every layer computes in float.

    With optimizations ONNX Runtime puts uint8 x int8 kernels in place of a layer and its Q/DQ. On
    x86 without VNNI these add two products in 16 bits (vpmaddubsw) and clip the sum, so that right
    files give wrong answers there (issues 5849 and 14642 of microsoft/onnxruntime). What a file
    says must not depend on the processor that tests it.
    """
    return predictor(path, level=Level.ORT_DISABLE_ALL)


@pytest.fixture(scope="session")
def as_written() -> Callable[[Path], Predict]:
    return predictor_as_written


# 255 * 127 + 255 * 127 = 64,770: as a sum of two products it does not fit into 16 bits.
PROBE = """(float[batch, 2] x) => (float[batch, 1] y) {
    q = QuantizeLinear(x, one, zero)
    d = DequantizeLinear(q, one, zero)
    v = DequantizeLinear(w, one)
    y = MatMul(d, v)
}"""


@pytest.fixture(scope="session")
def saturates(build: Build) -> bool:
    """Whether the fused kernels of this machine clip: asked of them, not of the CPU's name."""
    constants: dict[str, NDArray[Any]] = {
        "one": np.array(1, np.float32),
        "zero": np.array(0, np.uint8),
        "w": np.full((2, 1), 127, np.int8),
    }
    path = build(PROBE, constants)
    feed = {"x": np.full((1, 2), 255, np.float32)}
    fused = predictor(path)(feed)["y"].item()
    told = predictor_as_written(path)(feed)["y"].item()
    assert told == 2 * 255 * 127
    return bool(fused != told)

"""Repairs stop when they are not needed, say what they gave, and do not depend on the order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.data.dataset import Arrays
from edgekd.exporters.ort_session import Level, predictor
from edgekd.quantization.accuracy.escalation import WANTED_DB, Accuracy
from edgekd.quantization.layouts import ONNX_RUNTIME, TENSORRT
from edgekd.quantization.static import calibrate, quantize_int8, write_int8

Build = Callable[..., Path]

BLOCK = """(float[batch, 6, 8] x) => (float[batch, 6, 8] y) {
    h = LayerNormalization(x, g, b)
    p = MatMul(h, w)
    a = Relu(p)
    q = MatMul(a, v)
    y = Add(q, h)
}"""
UNLIKE = """(float[batch, 3, 8, 8] x) => (float[batch, 4, 8, 8] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
    r = Relu(a)
    y = Conv(r, w2)
}"""


@pytest.fixture
def outliers(build: Build) -> Path:
    """Two channels of the normalization are a hundred times larger, and hardly read."""
    rng = np.random.default_rng(0)
    gamma, w = np.ones(8, "f"), rng.standard_normal((8, 16)).astype("f")
    gamma[[2, 5]] = 100
    w[[2, 5]] /= 100
    own = {"g": gamma, "b": np.zeros(8, "f"), "w": w}
    return build(BLOCK, own | {"v": rng.standard_normal((16, 8)).astype("f")})


@pytest.fixture
def unlike(build: Build) -> Path:
    """The channels between two convolutions have ranges from 0.01 to 100, and all matter alike."""
    rng = np.random.default_rng(1)
    sizes = np.geomspace(0.01, 100, 8).astype("f")
    w1, w2 = rng.standard_normal((8, 3, 3, 3)), rng.standard_normal((4, 8, 1, 1))
    own = {"w1": w1 * sizes.reshape(-1, 1, 1, 1), "w2": w2 / sizes.reshape(1, -1, 1, 1)}
    own["b1"] = rng.standard_normal(8) * sizes
    return build(UNLIKE, {name: value.astype("f") for name, value in own.items()})


def feeds(path: Path, count: int = 30, seed: int = 0) -> Arrays:
    shape = (6, 8) if "MatMul" in str(path.read_bytes()) else (3, 8, 8)
    return {"x": np.random.default_rng(seed).standard_normal((count, *shape)).astype("f")}


def snr_db(path: Path, target: Path, arrays: Arrays) -> float:
    want, got = (predictor(p, level=Level.ORT_DISABLE_ALL)(arrays)["y"] for p in (path, target))
    return float(10 * np.log10(np.square(want).sum() / np.square(want - got).sum()))


def test_a_good_file_costs_no_repair(
    cnn: Path, batched: Any, pictures: Arrays, tmp_path: Path
) -> None:
    source = batched(pictures, 8)
    said = quantize_int8(cnn, tmp_path / "auto.onnx", source)
    assert [step["method"] for step in said.repairs] == ["plain"]
    assert said.repairs[0]["snr_db"] >= WANTED_DB
    ranked = [row["snr_db"] for row in said.sensitivity]
    assert len(ranked) == said.layers - 1  # the first convolution reads pixels, which are exact
    assert ranked == sorted(ranked)
    write_int8(calibrate(cnn, source), tmp_path / "plain.onnx", layout=ONNX_RUNTIME, accuracy=())
    assert (tmp_path / "auto.onnx").read_bytes() == (tmp_path / "plain.onnx").read_bytes()


@pytest.mark.parametrize(("name", "method"), [("outliers", "smooth"), ("unlike", "equalize")])
def test_each_rewrite_repairs_what_it_is_for(
    name: str, method: Any, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path: Path = request.getfixturevalue(name)
    calibrated = calibrate(path, lambda: iter([feeds(path)]), layout=TENSORRT)
    found = []
    for accuracy in ((), (method,)):
        said = write_int8(calibrated, tmp_path / "q.onnx", layout=TENSORRT, accuracy=accuracy)
        found.append(snr_db(path, tmp_path / "q.onnx", feeds(path, seed=1)))
    assert said.repairs[-1]["kept"]
    assert said.repairs[-1]["gain_db"] > 5
    assert found[1] > found[0] + 5


@pytest.mark.parametrize("accuracy", ["auto", ("rounding", "bias-correction", "equalize")])
def test_the_order_of_the_samples_changes_no_byte(
    unlike: Path, accuracy: Accuracy, tmp_path: Path
) -> None:
    arrays = feeds(unlike)["x"]
    files = []
    for order in (np.arange(30), np.random.default_rng(5).permutation(30)):
        for size in (1, 7):

            def batches(order: Any = order, size: int = size) -> Iterator[Arrays]:
                for start in range(0, 30, size):
                    yield {"x": arrays[order[start : start + size]]}

            write_int8(
                calibrate(unlike, batches),
                tmp_path / "q.onnx",
                layout=ONNX_RUNTIME,
                accuracy=accuracy,
            )
            files.append((tmp_path / "q.onnx").read_bytes())
    assert len(set(files)) == 1


def test_a_repair_without_a_place_says_so(outliers: Path, tmp_path: Path) -> None:
    said = write_int8(
        calibrate(outliers, lambda: iter([feeds(outliers)])),
        tmp_path / "q.onnx",
        layout=ONNX_RUNTIME,
        accuracy=("equalize",),
    )
    plain, equalized = said.repairs
    assert plain["kept"]
    assert not equalized["kept"]
    assert "no two layers" in equalized["note"]

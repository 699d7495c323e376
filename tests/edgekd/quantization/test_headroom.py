"""Ranges leave room for samples to come, and layers that spoil an output stay in float."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from edgekd.errors import ModelError
from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.ort_session import Level, predictor
from edgekd.quantization.calibration import collect
from edgekd.quantization.headroom import Extremes
from edgekd.quantization.layouts import ONNX_RUNTIME
from edgekd.quantization.proof import FloatAnswers
from edgekd.quantization.static import calibrate, find_outcome, quantize_int8


def extremes(samples: NDArray[Any]) -> Extremes:
    found = Extremes()
    for sample in samples:
        found.add(sample)
    return found


def test_few_values_with_a_tail_get_room_and_many_values_get_none() -> None:
    rng = np.random.default_rng(0)
    pooled = np.abs(rng.standard_normal((64, 1)) * rng.uniform(0.9, 1, (64, 16))).astype("f")
    low, high = extremes(pooled).widened()
    assert low >= 0
    assert 1.1 * pooled.max() < high <= 1.5 * pooled.max()
    map_of_many = rng.standard_normal((64, 20_000)).astype("f")
    assert extremes(map_of_many).widened() == (map_of_many.min(), map_of_many.max())


@pytest.mark.parametrize("bounds", [(0, 1), (-1, 1), (0, 0), (-6, 0)])
def test_what_is_bounded_keeps_its_bounds(bounds: tuple[int, int]) -> None:
    values = np.clip(np.random.default_rng(1).standard_normal((32, 64)) * 9, *bounds).astype("f")
    assert [float(end) for end in extremes(values).widened()] == list(bounds)


def test_the_range_depends_on_no_order_and_a_nan_stays_in_it() -> None:
    values = np.random.default_rng(2).standard_cauchy((200, 4)).astype("f")
    assert extremes(values).widened() == extremes(values[::-1]).widened()
    values[7, 2] = np.nan
    assert np.isnan(extremes(values).widened()).all()


def test_a_first_axis_that_is_not_the_batch_keeps_all_its_values(
    build: Callable[..., Path],
) -> None:
    """Windows of a file that takes four samples at once: [16, 3]."""
    text = """(float[4, 4, 3] x) => (float[16, 3] y) {
        y = Reshape(x, shape)
    }"""
    model = load_onnx(build(text, {"shape": np.array([16, 3])}))
    values = np.arange(7 * 12, dtype=np.float32).reshape(7, 4, 3)
    collected = collect(model, ["y"], iter([{"x": values}]))
    found, _ = collected.statistics["y"].find_range("minmax", "uint8")
    assert [float(end) for end in found] == [0, 83]
    assert collected.samples == 7


HEAD = """(float[batch, 3, 8, 8] x) => (float[batch, 4] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1)
    r = Relu(a)
    p = GlobalAveragePool(r)
    f = Flatten(p)
    h = MatMul(f, w2)
    y = MatMul(h, w3)
}"""


def test_a_layer_that_spoils_the_output_stays_float(
    build: Callable[..., Path], tmp_path: Path
) -> None:
    """The outputs are small differences of large numbers, but for the first convolution."""
    rng = np.random.default_rng(3)
    w2 = rng.standard_normal((16, 8)).astype("f")
    w2[:, 1:] = w2[:, :1] + 0.01 * w2[:, 1:]
    w3 = rng.standard_normal((8, 4)).astype("f")
    w3 -= w3.mean(axis=0)
    weights = {"w1": rng.standard_normal((16, 3, 3, 3)).astype("f"), "w2": w2, "w3": w3}
    path, arrays = build(HEAD, weights), {"x": rng.standard_normal((32, 3, 8, 8)).astype("f")}
    said = quantize_int8(path, tmp_path / "q.onnx", lambda: iter([arrays]))
    assert said.layers == 1
    assert all("22 dB are wanted" in reason for reason in said.left.values())
    want, got = (
        predictor(file, level=Level.ORT_DISABLE_ALL)(arrays)["y"]
        for file in (path, tmp_path / "q.onnx")
    )
    assert 10 * np.log10(np.square(want).sum() / np.square(want - got).sum()) > 20


def test_a_layer_with_which_the_file_does_not_run_stays_float(
    build: Callable[..., Path],
) -> None:
    class Refusing(FloatAnswers):
        def compare(self, quantized: ModelProto) -> dict[str, float]:
            for tensor in quantized.graph.initializer:
                if tensor.data_type == TensorProto.INT8 and list(tensor.dims) == [8, 4]:
                    raise ModelError("no kernel")
            return super().compare(quantized)

    rng = np.random.default_rng(4)
    shapes = {"w1": (16, 3, 3, 3), "w2": (16, 8), "w3": (8, 4)}
    path = build(HEAD, {n: rng.standard_normal(s).astype("f") for n, s in shapes.items()})
    arrays = {"x": rng.standard_normal((32, 3, 8, 8)).astype("f")}
    calibrated = calibrate(path, lambda: iter([arrays]))
    answers = Refusing(calibrated.model, calibrated.judged, name="it")
    trial = find_outcome(calibrated, answers, ONNX_RUNTIME).trial
    plan, graph = trial.plan, trial.graph
    assert len(plan.layers) == 1
    assert all("does not run" in reason for reason in plan.left.values())
    assert answers.compare(graph)["y"] < 0.01

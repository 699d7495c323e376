"""Weights whose products fit into 16 bits in pairs, so that all x86 processors agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgekd.evaluation.quality_gate import Judged
from edgekd.exporters.ort_session import IN_FLOAT, open_session, predictor
from edgekd.exporters.pair_sums import LARGEST_SUM, count_unsafe, find_pairs
from edgekd.quantization.accuracy.rounding import descend
from edgekd.quantization.layouts import ONNX_RUNTIME, TENSORRT, XNNPACK, Layout
from edgekd.quantization.saturation import find_partners, find_safe_scale, keep_safe
from edgekd.quantization.scales import find_weight_scale, round_weight
from edgekd.quantization.static import calibrate, write_int8


def test_pairs_are_neighbouring_channels_at_one_place_of_the_kernel() -> None:
    # Stored [4 channels, 2 places]: channel c at place p is number 2 c + p.
    ((first, second),) = find_pairs(np.zeros((4, 2)))
    assert list(zip(first, second, strict=True)) == [(0, 2), (4, 6), (1, 3), (5, 7)]


def test_an_odd_number_of_channels_is_paired_in_both_known_ways() -> None:
    # [3 channels, 2 places]; in the order of the sum: 0 2 4 (place 0), 1 3 5 (place 1).
    by_place, flat = find_pairs(np.zeros((3, 2)))
    assert list(zip(*by_place, strict=True)) == [(0, 2), (1, 3)]
    assert list(zip(*flat, strict=True)) == [(0, 2), (4, 1), (3, 5)]
    assert find_partners(np.zeros((3, 2))) == [[2, 2], [3, 4], [0, 0], [1, 5], [1], [3]]


def test_only_one_product_has_no_pair() -> None:
    assert find_pairs(np.zeros(1)) == []
    (both,) = find_pairs(np.zeros(3))
    assert [list(side) for side in both] == [[0], [1]]


@pytest.mark.parametrize(
    ("pair", "kept"),
    [
        ((127, 127), (64, 64)),
        ((127, 1), (127, 1)),
        ((127, 2), (126, 2)),
        ((2, 127), (2, 126)),
        ((-127, -4), (-125, -3)),
        ((-100, -100), (-64, -64)),
        ((127, -127), (127, -127)),
    ],
)
def test_both_of_a_pair_give_way(pair: tuple[int, int], kept: tuple[int, int]) -> None:
    row = np.array([pair], np.int8)
    assert tuple(keep_safe(row, 0)[0]) == kept
    assert count_unsafe(row, 0) == int(pair != kept)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((8, 4, 3, 3), 0),
        ((8, 3, 3, 3), 0),
        ((4, 1, 5), 0),
        ((6, 7), 0),
        ((7, 6), 1),
        ((5, 1, 1), 0),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_no_scale_leaves_an_unsafe_pair(shape: tuple[int, ...], axis: int, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_t(2, shape).astype(np.float32)
    plain = find_weight_scale(weight, axis, np.float32(1), None, step=0.0, pairwise=False)
    safe = find_weight_scale(weight, axis, np.float32(1), None, step=0.0, pairwise=True)
    assert not isinstance(plain, str)
    assert not isinstance(safe, str)
    assert (safe >= plain).all()
    assert (safe <= plain * np.float32(2)).all()  # never worse than seven bits
    integers = round_weight(weight, axis, safe, pairwise=True)
    assert count_unsafe(integers, axis) == 0
    exact = _x86_without_vnni(np.full(_inputs(shape, axis), 255), _rows(integers, axis))
    assert (exact == 255 * _rows(integers, axis).sum(axis=1)).all()


def test_channels_without_unsafe_pairs_keep_their_scale() -> None:
    weight = np.array([[1.0, 0.0, -1.0, 0.0], [1.0, 1.0, 0.5, 0.5]], np.float32)
    scale = np.abs(weight).max(axis=1).astype(np.float64) / 127
    found = find_safe_scale(weight, 0, scale)
    assert found[0] == scale[0]
    assert found[1] == 2 / LARGEST_SUM  # 64 and 64 err less than two weights that are cut


@pytest.mark.parametrize("seed", range(4))
def test_the_scale_errs_no_more_than_the_plain_one_or_one_that_cuts_nothing(seed: int) -> None:
    weight = np.random.default_rng(seed).laplace(size=(6, 40)).astype(np.float32)
    plain = np.abs(weight).max(axis=1).astype(np.float64) / 127
    sums = np.abs(weight[:, ::2] + weight[:, 1::2]).max(axis=1) / LARGEST_SUM
    found = find_safe_scale(weight, 0, plain)
    least = _squared_errors(weight, found)
    assert (least <= _squared_errors(weight, plain) * (1 + 1e-4)).all()
    assert (least <= _squared_errors(weight, np.maximum(plain, sums)) * (1 + 1e-4)).all()


def _squared_errors(weight: NDArray[np.float32], scale: NDArray[np.float64]) -> NDArray[Any]:
    whole = np.clip(np.rint(weight / scale[:, None]), -127, 127).astype(np.int8)
    errors: NDArray[Any] = np.square(keep_safe(whole, 0) * scale[:, None] - weight).sum(axis=1)
    return errors


def test_adaptive_rounding_does_not_leave_the_safe_pairs() -> None:
    rng = np.random.default_rng(0)
    exact = rng.uniform(40, 80, (1, 6, 8)) * rng.choice([-1, 1], (1, 6, 1))
    inputs = rng.integers(0, 255, (40, 8)).astype(np.float64)
    energy = (inputs.T @ inputs)[None]
    whole = keep_safe(np.rint(exact[0]).astype(np.int8), 0)[None].astype(np.float64)
    partners = find_partners(np.zeros(8))
    found = descend(exact, whole, energy, partners)
    assert count_unsafe(found[0].astype(np.int8), 0) == 0
    before, after = whole - exact, found - exact
    assert (
        np.einsum("gri,gij,grj->gr", after, energy, after)
        <= 1e-9 + np.einsum("gri,gij,grj->gr", before, energy, before)
    ).all()
    assert count_unsafe(descend(exact, np.rint(exact), energy)[0].astype(np.int8), 0) > 0


_LAYERS = [
    ("Conv", (8, 8, 1, 1), (1, 8, 4, 4), {}),
    ("Conv", (8, 3, 3, 3), (1, 3, 6, 6), {}),
    ("Conv", (8, 1, 3, 3), (1, 1, 6, 6), {}),
    ("Conv", (8, 1, 3, 3), (1, 8, 6, 6), {"group": 8}),
    ("Conv", (16, 1, 3, 3), (1, 8, 6, 6), {"group": 8}),
    ("Conv", (8, 3, 3, 3), (1, 6, 6, 6), {"group": 2}),
    ("Conv", (8, 5, 3), (1, 5, 9), {}),
    ("Conv", (4, 3, 2, 2, 2), (1, 3, 4, 4, 4), {}),
    ("Gemm", (7, 6), (3, 7), {}),
    ("MatMul", (8, 6), (3, 8), {}),
]


@pytest.mark.parametrize("layout", [ONNX_RUNTIME, XNNPACK], ids=lambda one: one.variant)
@pytest.mark.parametrize("layer", _LAYERS, ids=lambda one: f"{one[0]}{list(one[1])}{one[3]}")
def test_the_kernels_of_this_processor_compute_what_the_file_says(
    layer: tuple[str, tuple[int, ...], tuple[int, ...], dict[str, int]],
    layout: Layout,
    tmp_path: Path,
) -> None:
    operator, weights, data, attributes = layer
    # All weights near the greatest, all of one sign: each pair would leave 16 bits.
    weight = np.random.default_rng(0).uniform(0.9, 1, weights).astype(np.float32)
    source = _save(tmp_path / "float.onnx", operator, weight, data, attributes)
    samples = [{"x": np.full(data, 1, np.float32)}, {"x": np.zeros(data, np.float32)}]
    target = tmp_path / "int8.onnx"
    write_int8(
        calibrate(source, lambda: iter(samples), layout=layout), target, layout=layout, accuracy=()
    )
    (fused,) = open_session(target).run(None, samples[0])
    (exact,) = open_session(target, options=IN_FLOAT).run(None, samples[0])
    assert np.abs(fused - exact).max() <= 0.01 * np.abs(exact).max()


def test_a_file_for_sums_of_32_bits_is_computed_in_float(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).uniform(0.9, 1, (8, 8, 1, 1)).astype(np.float32)
    source = _save(tmp_path / "float.onnx", "Conv", weight, (1, 8, 4, 4), {})
    samples = [{"x": np.full((1, 8, 4, 4), 1, np.float32)}, {"x": np.zeros((1, 8, 4, 4), "f4")}]
    target = tmp_path / "model.int8-tensorrt.onnx"
    calibrated = calibrate(source, lambda: iter(samples), layout=TENSORRT)
    judged: list[str] = []

    def judge(_graph: object, variant: str) -> Judged:
        judged.append(variant)
        return Judged(within=True, text="")

    write_int8(calibrated, target, layout=TENSORRT, judge=judge)
    assert set(judged) == {"int8-tensorrt"}
    plain = tmp_path / "model.onnx"  # the same bytes, whose name says nothing
    plain.write_bytes(target.read_bytes())
    (exact,) = open_session(plain, options=IN_FLOAT).run(None, samples[0])
    assert (predictor(target)(samples[0])["out"] == exact).all()
    assert (open_session(target).run(None, samples[0])[0] == exact).all()


def _save(
    path: Path, operator: str, weight: NDArray[Any], data: tuple[int, ...], attributes: Any
) -> Path:
    last = helper.make_node("Identity", ["z"], ["out"], name="last")
    if operator == "Conv":
        last = helper.make_node("GlobalMaxPool", ["z"], ["out"], name="last")
    graph = helper.make_graph(
        [
            helper.make_node(operator, ["x", "w"], ["y"], name="layer", **attributes),
            helper.make_node("Relu", ["y"], ["z"], name="relu"),
            last,
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, data)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [None] * len(data))],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    return path


def _inputs(shape: tuple[int, ...], axis: int) -> int:
    return int(np.prod(shape)) // shape[axis]


def _rows(integers: NDArray[np.int8], axis: int) -> NDArray[np.int64]:
    """Return the weights of each channel in the order of the sum."""
    channels = np.moveaxis(integers, axis, 0)
    return np.moveaxis(channels, 1, -1).reshape(len(channels), -1).astype(np.int64)


def _x86_without_vnni(data: NDArray[Any], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add up as VPMADDUBSW does: pairs in 16 bits with saturation, then in 32."""
    products = rows * data
    products = np.pad(products, ((0, 0), (0, products.shape[1] % 2)))
    pairs = products.reshape(len(rows), -1, 2).sum(axis=2)
    sums: NDArray[np.int64] = np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=1)
    return sums

"""Weights that are dequantized in every call: found with their cause, and gone with the fix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from edgekd.exporters.lint.cpu_weights import find_unsafe_sums
from edgekd.exporters.lint.finding import Lint
from edgekd.exporters.lint.graph import index
from tests.exporters.lint.small import Small
from tests.exporters.lint.test_cpu import lint, rules


def linear(folder: Path, *behind: str, kind: str = "MatMul", copies: int = 1) -> Lint:
    """Check products of one weight of 64 x 64, each with an operator behind it."""
    s = Small(shape=(2, 64))
    weights = [s.weight((64, 64), axis=1) for _ in range(copies)]
    y = s.x
    for number, operator in enumerate(behind):
        y = s.op(kind, y, weights[number % copies], name=f"layer{number}")
        y = s.op(operator, y, *[s.constant("zero", 0)] * (operator == "Max"))
    return lint(s.build(s.op("Neg", y)), folder)


@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
@pytest.mark.parametrize("clip", ["Relu", "Clip"])
def test_a_clip_behind_a_layer_is_blamed_and_maximum_fuses(
    kind: str, clip: str, tmp_path: Path
) -> None:
    found = linear(tmp_path, clip, kind=kind)
    (one,) = [f for f in found.findings if f.rule == "dequantized-weight"]
    assert (one.weight, one.node, one.detail) == ("warning", "layer0", "4,096 values")
    assert "no Relu or Clip" in one.reason
    assert "Max(x, 0)" in one.fix
    assert found.failed
    fixed = linear(tmp_path, "Max", kind=kind)
    assert not rules(fixed)
    assert fixed.int8_layers == 1


def test_a_shared_weight_is_blamed_and_copies_fuse(tmp_path: Path) -> None:
    found = linear(tmp_path, "Tanh", "Tanh")
    assert {one.rule for one in found.findings} == {"dequantized-weight"}
    assert "nothing else reads the integers" in found.findings[0].reason
    assert not rules(linear(tmp_path, "Tanh", "Tanh", copies=2))


def test_a_table_that_is_dequantized_whole_is_found(tmp_path: Path) -> None:
    s = Small(shape=(2, 64))
    rows = s.op("ArgMax", s.x, axis=1, keepdims=0)
    found = lint(s.build(s.op("Gather", s.weight((64, 64)), rows, name="table")), tmp_path)
    (one,) = [f for f in found.findings if f.rule == "dequantized-weight"]
    assert (one.node, "gather the rows" in one.fix) == ("table", True)


@pytest.mark.parametrize(("largest", "found"), [(127, True), (64, False)])
@pytest.mark.parametrize("kind", ["Conv", "MatMul", "MatMulInteger", "QLinearConv"])
def test_sums_that_leave_16_bits_are_found_in_every_form(
    kind: str, largest: int, found: bool
) -> None:
    shape = [4, 2, 1, 1] if kind.endswith("Conv") else [2, 4]
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    g (uint8{[2, *shape[1:2], 3, 3] if kind.endswith("Conv") else [3, 2]} x) => (y)
    <float s = {{1}}, uint8 z = {{0}}, int8 v = {{0}}> {{ {_FORMS[kind]} }}"""
    model = onnx.parser.parse_model(text)
    weight = np.full(shape, largest, np.int8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    names = [one.rule for one in find_unsafe_sums(index(model))]
    assert names == ["unsafe-sums"] * found


_FORMS = {
    "Conv": "d = DequantizeLinear(x, s, z) u = DequantizeLinear(w, s, v) y = Conv(d, u)",
    "MatMul": "d = DequantizeLinear(x, s, z) u = DequantizeLinear(w, s, v) y = MatMul(d, u)",
    "MatMulInteger": "y = MatMulInteger(x, w, z, v)",
    "QLinearConv": "y = QLinearConv(x, s, z, w, s, v, s, z)",
}


def test_depthwise_layers_and_our_own_files_add_in_32_bits() -> None:
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (uint8[1, 4, 3, 3] x) => (y) <float s = {1}, uint8 z = {0}, int8 v = {0}> {
        d = DequantizeLinear(x, s, z)
        u = DequantizeLinear(w, s, v)
        y = Conv<group = 4>(d, u)
    }"""
    model = onnx.parser.parse_model(text)
    weight = np.full((4, 1, 3, 3), 127, np.int8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    assert not list(find_unsafe_sums(index(model)))

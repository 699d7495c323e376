"""Weights that are dequantized in every call: found with their cause, and gone with the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.exporters.lint.finding import Lint
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

"""Operators of two files, matched by what they are in the model."""

from __future__ import annotations

import pytest

from edgekd.benchmarks.layers.nodes import Node
from edgekd.pipeline.layer_times import compare_operators


def node(operator: str, time_s: float) -> Node:
    return Node(name=operator, operator=operator, kind=None, time_s=time_s)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        *(("QLinearConv", "Conv"), ("FusedConv", "Conv"), ("QGemm", "Gemm")),
        *(("MatMulIntegerToFloat", "MatMul"), ("ConvInteger", "Conv"), ("Quick", "Quick")),
        ("QuantizeLinear", "QuantizeLinear"),
    ],
)
def test_forms_of_an_operator_are_one(name: str, plain: str) -> None:
    (found,) = compare_operators([node(plain, 1.0)], [node(name, 3.0)])
    assert (found.operator, found.before_s, found.after_s) == (plain, 1.0, 3.0)
    assert found.change_s == 2.0


def test_the_costliest_is_first_and_every_node_counts() -> None:
    before = [node("Conv", 1.0), node("Conv", 2.0), node("Relu", 0.5)]
    after = [node("QLinearConv", 1.0), node("QuantizeLinear", 4.0)]
    found = compare_operators(before, after)
    assert [one.operator for one in found] == ["QuantizeLinear", "Conv", "Relu"]
    assert [(one.before_nodes, one.after_nodes) for one in found] == [(0, 1), (2, 1), (1, 0)]
    assert sum(one.before_s for one in found) == 3.5

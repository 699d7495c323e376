"""The table of operators: kinds, products, and what tells that a file is quantized."""

from __future__ import annotations

import pytest

from edgekd.benchmarks.operators import PRODUCTS, SCALES, is_quantized, kind, macs


@pytest.mark.parametrize(
    ("operator", "inputs", "outputs", "expected"),
    [
        ("QLinearConv", ["uint8"], ["uint8"], "int8"),
        ("QLinearAdd", ["uint8"], ["uint8"], "int8"),
        ("MatMulInteger", ["uint8", "int8"], ["int32"], "int8"),
        ("DynamicQuantizeMatMul", ["float", "int8"], ["float"], "int8"),
        ("NhwcMaxPool", ["uint8"], ["uint8"], "int8"),
        ("DynamicQuantizeLinear", ["float"], ["uint8"], "qdq"),
        ("DequantizeLinear", ["uint8"], ["float"], "qdq"),
        ("Transpose", ["uint8"], ["uint8"], "layout"),
        ("ReorderOutput", ["float"], ["float"], "layout"),
        ("Cast", ["uint8"], ["float"], "other"),  # pixels on their way in
        ("Conv", ["float"], ["float"], "other"),
        ("Constant", [], [], "other"),
    ],
)
def test_kinds(operator: str, inputs: list[str], outputs: list[str], expected: str) -> None:
    assert kind(operator, inputs, outputs) == expected


def test_a_product_is_counted_only_where_all_its_shapes_are_known() -> None:
    assert macs("Conv", [(1, 8, 10, 10), (16, 4, 3, 3)], (1, 16, 5, 5)) == 400 * 36
    assert macs("QGemm", [(2, 3), (), (), (3, 5)], (2, 5)) == 30  # its weight is the fourth input
    assert macs("MatMul", [(2, 3), None], (2, 5)) is None
    assert macs("MatMul", [(2, 3)], (2, 5)) is None
    assert macs("Attention", [(1, 8, 64), (64, 192)], (1, 8, 64)) is None


def test_no_input_is_a_weight_and_a_scale() -> None:
    for name, product in PRODUCTS.items():
        assert not {product.weight, *product.integers} & set(SCALES[name]), name


@pytest.mark.parametrize("operator", ["DequantizeLinear", "MatMulInteger", "QLinearAdd", "QGemm"])
def test_quantized_graphs_are_known_by_any_of_their_operators(operator: str) -> None:
    assert is_quantized(operator)
    assert not any(is_quantized(name) for name in ("Conv", "Cast", "Attention", "Transpose"))

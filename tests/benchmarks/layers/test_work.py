"""Multiply-accumulates and bytes, worked out by hand."""

from __future__ import annotations

import pytest

from edgekd.benchmarks.layers.nodes import Node, Tensor
from edgekd.benchmarks.layers.work import macs, size_bytes

Shape = tuple[int, ...]


def node(
    operator: str, *inputs: Shape, out: Shape, type_: str = "float", weights: int | None = 0
) -> Node:
    return Node(
        name="n",
        operator=operator,
        kind="other",
        time_s=1e-3,
        inputs=tuple(Tensor(type_, shape) for shape in inputs),
        outputs=(Tensor(type_, out),),
        parameter_bytes=weights,
    )


def test_conv_with_groups_and_stride() -> None:
    """Two groups of 4 inputs and 8 outputs, 3 x 3, stride 2: 10 x 10 becomes 5 x 5.

    Each of 16 * 5 * 5 = 400 outputs sums over 4 * 3 * 3 = 36 products.
    """
    given = node("Conv", (1, 8, 10, 10), (16, 4, 3, 3), (16,), out=(1, 16, 5, 5))
    assert macs(given) == 400 * 36
    assert size_bytes(given) == 4 * (800 + 576 + 16 + 400)


def test_channels_last_bytes() -> None:
    """The weight of QLinearConv is its fourth input; its layout of pixels changes nothing."""
    scalar: Shape = ()
    inputs = ((1, 10, 10, 8), scalar, scalar, (16, 8, 1, 1), (16,), (16,), scalar, scalar)
    given = node("QLinearConv", *inputs, out=(1, 10, 10, 16), type_="uint8")
    assert macs(given) == 1600 * 8
    assert size_bytes(given) == 800 + 1 + 1 + 128 + 16 + 16 + 1 + 1 + 1600


def test_depthwise_conv() -> None:
    assert macs(node("Conv", (1, 32, 7, 7), (32, 1, 3, 3), out=(1, 32, 7, 7))) == 32 * 49 * 9


def test_transposed_conv() -> None:
    """Each of 4 * 5 * 5 inputs goes into 6 channels at 2 x 2 places."""
    given = node("ConvTranspose", (1, 4, 5, 5), (4, 6, 2, 2), out=(1, 6, 10, 10))
    assert macs(given) == 100 * 24


@pytest.mark.parametrize(
    ("operator", "left", "right", "out", "expected"),
    [
        ("MatMul", (3, 5), (5, 7), (3, 7), 105),
        ("MatMul", (2, 4, 3, 5), (5, 7), (2, 4, 3, 7), 8 * 105),
        ("MatMul", (2, 1, 3, 5), (4, 5, 7), (2, 4, 3, 7), 8 * 105),
        ("MatMul", (5,), (5, 7), (7,), 35),
        ("MatMul", (3, 5), (5,), (3,), 15),
        ("MatMul", (5,), (5,), (), 5),
        ("FusedMatMul", (5, 3), (5, 7), (3, 7), 105),  # the left one transposed
        ("FusedMatMul", (3, 5), (7, 5), (3, 7), 105),  # the right one
        ("FusedMatMul", (5, 2, 3), (2, 5, 7), (2, 3, 7), None),  # batch axes moved
        ("Gemm", (3, 5), (7, 5), (3, 7), 105),
        ("Gemm", (5, 3), (5, 7), (3, 7), 105),
        ("MatMulInteger", (3, 5), (5, 7), (3, 7), 105),
        ("MatMul", (0, 5), (5, 7), (0, 7), 0),
    ],
)
def test_matrices(operator: str, left: Shape, right: Shape, out: Shape, expected: int) -> None:
    assert macs(node(operator, left, right, out=out)) == expected


def test_what_is_not_known_is_not_guessed() -> None:
    assert macs(node("Attention", (1, 8, 64), (64, 192), out=(1, 8, 64))) is None
    assert macs(node("Softmax", (1, 8), out=(1, 8))) is None
    packed = node("QLinearMatMul", (1, 5), (), (), (7,), (7,), out=(1, 7), weights=None)
    assert macs(packed) is None
    assert size_bytes(packed) is None
    assert size_bytes(node("Cast", (3,), out=(3,), type_="string")) is None


def test_nodes_without_products() -> None:
    assert macs(node("Relu", (2, 3), out=(2, 3))) == 0
    assert size_bytes(node("Relu", (2, 3), out=(2, 3))) == 48
    assert size_bytes(node("Reshape", (2, 3), (1,), out=(6,))) == 0


def test_a_look_up_reads_the_rows_that_it_finds() -> None:
    """3 rows of 8 floats out of 30,000 are read and written, and 3 indices."""
    table, indices = Tensor("float", (30_000, 8)), Tensor("int64", (3,))
    outputs = (Tensor("float", (3, 8)),)
    given = Node(
        name="n",
        operator="Gather",
        kind="other",
        time_s=1e-3,
        inputs=(table, indices),
        outputs=outputs,
        parameter_bytes=960_000,
    )
    assert size_bytes(given) == 24 + 2 * 96

"""A uint8 input is cast before its values are moved, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser

from edgekd.exporters.input_casts import cast_inputs_first
from edgekd.exporters.ort_session import open_session, run

HEAD = '<ir_version: 8, opset_import: ["": 17]> g (uint8[batch, 4, 4, 3] x) => '
MOVED = """(float[batch, 3, 4, 4] y, float[batch, 48] z) {
    t = Transpose<perm = [0, 3, 1, 2]>(x)
    y = Cast<to = 1>(t)
    f = Flatten(t)
    z = Cast<to = 1>(f)
}"""
LEFT = [
    "(float y) { t = Transpose<perm = [0, 3, 1, 2]>(x) yes = Constant<value = bool {1}>()"
    " y = If (yes) <then_branch = g1 () => (float a) { a = Cast<to = 1>(t) },"
    " else_branch = g2 () => (float b) { b = Cast<to = 1>(t) }> }",
    "(uint8[batch, 3, 4, 4] t, float y) { t = Transpose<perm = [0, 3, 1, 2]>(x)"
    " y = Cast<to = 1>(t) }",
    "(float y, double z) { t = Transpose<perm = [0, 3, 1, 2]>(x)"
    " y = Cast<to = 1>(t) z = Cast<to = 11>(t) }",
    "(float y, int64[3] z) { t = Transpose<perm = [0, 3, 1, 2]>(x)"
    " y = Cast<to = 1>(t) z = Shape(t) }",
    "(float y) { f = Cast<to = 1>(x) y = Transpose<perm = [0, 3, 1, 2]>(f) }",
]


def test_the_cast_moves_to_the_input() -> None:
    model = parser.parse_model(HEAD + MOVED)
    changed = cast_inputs_first(model)
    assert [node.op_type for node in changed.graph.node[:2]] == ["Cast", "Transpose"]
    assert all(node.op_type != "Cast" for node in changed.graph.node[1:])
    x = {"x": np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)}
    answers = [
        run(open_session(m.SerializeToString()), ["y", "z"], x, name="it") for m in (model, changed)
    ]
    for before, after in zip(*answers, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("text", LEFT)
def test_what_is_read_otherwise_is_left_alone(text: str) -> None:
    model = parser.parse_model(HEAD + text)
    assert cast_inputs_first(model) == model

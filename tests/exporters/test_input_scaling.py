"""The scaling of an input goes into the convolutions, whatever form it was written in."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from edgekd.exporters.input_scaling import fold_input_scaling
from edgekd.exporters.onnx_files import messages
from edgekd.exporters.ort_session import open_session

HEAD = '<ir_version: 10, opset_import: ["": 20]> net '
PIXELS = "(uint8[batch, 9, 9, 3] x) => (float[n, c, h, l] y)"
TENSOR = "(float[batch, 3, 9, 9] x) => (float[n, c, h, l] y)"
NCHW = "t = Transpose<perm = [0, 3, 1, 2]>(x) f = Cast<to = 1>(t)"

FOLDED = {
    "usual": (PIXELS, f"{NCHW} a = Sub(f, m) b = Div(a, s) y = Conv<pads = [1, 1, 1, 1]>(b, w)"),
    "channels last": (
        PIXELS,
        "f = Cast<to = 1>(x) a = Mul(f, small) b = Sub(a, row) c = Div(b, row)"
        "t = Transpose<perm = [0, 3, 1, 2]>(c) y = Conv<pads = [0, 0, 1, 1]>(t, w, bias)",
    ),
    "0..1 first": (
        PIXELS,
        f"{NCHW} a = Div(f, two) b = Add(a, m) c = Mul(b, s) y = Conv<auto_pad = "
        '"SAME_UPPER">(c, w)',
    ),
    "no padding": (PIXELS, f"{NCHW} a = Sub(f, m) b = Mul(a, s) y = Conv(b, w, bias)"),
    "a Sub alone, no padding": (PIXELS, f"{NCHW} a = Sub(f, m) y = Conv(a, w)"),
    "from the constant": (TENSOR, "a = Sub(m, x) y = Conv<pads = [1, 1, 1, 1]>(a, w)"),
    "a scale alone": (TENSOR, "a = Mul(two, x) y = Conv<pads = [1, 1, 1, 1]>(a, w, bias)"),
    "two readers": (
        TENSOR,
        "a = Sub(x, m) b = Div(a, s) c = Conv<pads = [1, 1, 1, 1]>(b, w) e = Conv(b, v)"
        "g = Conv<strides = [2, 2]>(c, u) h = ReduceMax(g) i = ReduceMax(e) y = Add(h, i)",
    ),
    "by groups": (TENSOR, "a = Sub(x, m) b = Div(a, s) y = Conv<group = 3>(b, d, bias)"),
    "padded before": (
        TENSOR,
        "a = Sub(x, m) b = Div(a, s) p = Pad(b, around) y = Conv<pads = [1, 0, 0, 0]>(p, w)",
    ),
    "one axis": (
        "(float[batch, 3, 20] x) => (float[n, c, l] y)",
        "a = Sub(x, m1) b = Div(a, m1) y = Conv<pads = [2, 0]>(b, w1, bias)",
    ),
}
LEFT = {
    "folded already": (TENSOR, "a = Sub(x, m) y = Conv<pads = [1, 1, 1, 1]>(a, w)"),
    "nothing to fold": (PIXELS, f"{NCHW} y = Conv<pads = [1, 1, 1, 1]>(f, w)"),
    "differs by place": (TENSOR, "a = Sub(x, map) b = Mul(a, s) y = Conv(b, w)"),
    "a channel times 0": (TENSOR, "a = Sub(x, m) b = Mul(a, zeros) y = Conv(b, w)"),
    "a constant in the padding": (TENSOR, "a = Mul(x, s) p = Pad(a, around, two) y = Conv(p, w)"),
    "not linear": (TENSOR, "a = Mul(x, s) b = Relu(a) y = Conv(b, w)"),
    "whole numbers": (
        PIXELS,
        "t = Transpose<perm = [0, 3, 1, 2]>(x) a = Div(t, bytes) f = Cast<to = 1>(a)y = Conv(f, w)",
    ),
    "a computed weight": (TENSOR, "a = Mul(x, s) k = Add(w, w) y = Conv(a, k)"),
}


def constants() -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng(0)
    floats = {
        "m": rng.uniform(90, 140, (3, 1, 1)),
        "s": rng.uniform(40, 70, (1, 3, 1, 1)),
        "row": rng.uniform(0.3, 0.6, 3),
        "small": np.array(1 / 255),
        "two": np.array([2.0]),
        "zeros": np.array([[[1.0]], [[0.0]], [[2.0]]]),
        "m1": rng.uniform(1, 2, (3, 1)),
        "map": rng.uniform(1, 2, (1, 1, 9, 9)),
        "w": rng.standard_normal((8, 3, 3, 3)),
        "v": rng.standard_normal((4, 3, 1, 1)),
        "u": rng.standard_normal((4, 8, 1, 1)),
        "d": rng.standard_normal((8 + 1, 1, 3, 3)),
        "w1": rng.standard_normal((8, 3, 5)),
    }
    whole = {"around": np.array([0, 0, 1, 2, 0, 0, 0, 1]), "bytes": np.array(3, np.uint8)}
    return {**{k: v.astype(np.float32) for k, v in floats.items()}, **whole}


def build(signature: str, body: str) -> ModelProto:
    model = onnx.parser.parse_model(f"{HEAD}{signature} {{ {body} }}")
    used = {name for node in model.graph.node for name in node.input}
    found = {**constants(), "bias": np.arange(9 if "(b, d" in body else 8, dtype=np.float32)}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in found.items() if name in used
    )
    return model


def answers(model: ModelProto) -> NDArray[np.float32]:
    rng = np.random.default_rng(1)
    (value,) = model.graph.input
    shape = [dim.dim_value or 2 for dim in value.type.tensor_type.shape.dim]
    kind = np.uint8 if value.type.tensor_type.elem_type == onnx.TensorProto.UINT8 else np.float32
    x = rng.integers(0, 256, shape).astype(kind)
    found: NDArray[np.float32] = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    return found


def scaling(model: ModelProto) -> list[str]:
    kinds = [n.op_type for n in messages(model, NodeProto)]
    first = kinds.index("Conv")
    return [kind for kind in kinds[:first] if kind in ("Sub", "Add", "Mul", "Div", "Pad")]


@pytest.mark.parametrize("name", FOLDED)
def test_the_network_is_equal_and_at_most_one_sub_is_left(name: str) -> None:
    model = build(*FOLDED[name])
    before = model.SerializeToString(deterministic=True)
    folded = fold_input_scaling(model)
    onnx.checker.check_model(folded, full_check=True)
    assert model.SerializeToString(deterministic=True) == before
    assert scaling(folded) == (["Sub"] if scaling_stays(name) else [])
    was, now = answers(model), answers(folded)
    np.testing.assert_allclose(now, was, rtol=0, atol=2e-5 * np.abs(was).max())
    assert fold_input_scaling(folded) is folded


def scaling_stays(name: str) -> bool:
    """Zeros of a padding are not shifted, so a mean has to be subtracted before it."""
    return name not in ("no padding", "a Sub alone, no padding", "a scale alone", "by groups")


@pytest.mark.parametrize("name", LEFT)
def test_what_cannot_be_folded_is_left_as_it_is(name: str) -> None:
    model = build(*LEFT[name])
    assert fold_input_scaling(model) is model


def test_another_reader_of_the_scaled_tensor_goes_on_reading_it() -> None:
    body = "a = Mul(x, s) c = Conv(a, v) e = Conv(c, k) y = Add(e, a)"
    model = build("(float[batch, 3, 9, 9] x) => (float[n, c, h, l] y)", body)
    rng = np.random.default_rng(0)
    values = rng.standard_normal((3, 4, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "k"))
    folded = fold_input_scaling(model)
    np.testing.assert_allclose(answers(folded), answers(model), rtol=0, atol=0.05)


def test_constants_keep_their_names() -> None:
    folded = fold_input_scaling(build(*FOLDED["no padding"]))
    assert {tensor.name for tensor in folded.graph.initializer} == {"w", "bias"}

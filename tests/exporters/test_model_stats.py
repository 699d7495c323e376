"""What a file holds is counted by hand here, and must come out the same."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgekd.exporters.file_facts import Entry
from edgekd.exporters.model_stats import facts
from edgekd.exporters.onnx_files import save_onnx
from edgekd.exporters.structure import same_structure


def test_parameters_and_macs_of_a_cnn(pixels: Any) -> None:
    found = facts(pixels.path)
    # Two convolutions with the folded norm's bias, one Linear, and the mean; std is in the weights.
    assert found.parameters == (3 * 9 * 8 + 8) + (8 * 9 * 8 + 8) + (8 * 10 + 10) + 3
    assert found.macs == 8 * 8 * 8 * 27 + 8 * 8 * 8 * 72 + 80
    assert found.int8_share == 0.0
    assert found.size_bytes == pixels.path.stat().st_size
    assert found.opset == 20
    assert found.inputs == (Entry("image", "uint8", ("batch", 16, 16, 3)),)
    assert found.outputs == (Entry("logits", "float32", ("batch", 10)),)
    assert found.operators["Conv"] == 2
    json.dumps(asdict(found))


def test_macs_of_text_need_a_length(words: Any) -> None:
    assert facts(words.path).macs is None
    at = {n: facts(words.path, lengths={"sequence": n}).macs for n in (1, 7)}
    for n, macs in at.items():
        layer = n * (16 * 48 + 16 * 16 + 16 * 32 + 32 * 16) + 2 * n * n * 16
        assert macs == 2 * layer + 16 * 3


def build(text: str, weights: dict[str, np.ndarray[Any, Any]], *, opset: int = 13) -> ModelProto:
    """Return a model from ONNX's text form and its constants."""
    model: ModelProto = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {opset}]> g {text}'
    )
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in weights.items())
    return model


def int8_conv(symmetric: bool = False) -> ModelProto:
    """A convolution between Q/DQ, its weight stored as int8, and one in float behind it."""
    kind = np.int8 if symmetric else np.uint8
    return build(
        """(float[N, 2, 4, 4] x) => (float[N, 5, 4, 4] y) {
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            w = DequantizeLinear<axis = 0>(wq, ws, wz)
            b = DequantizeLinear<axis = 0>(bq, bs)
            c = Conv(d, w, b)
            y = Conv(c, v)
        }""",
        {
            "s": np.array(0.1, np.float32),
            "z": np.array(0, kind),
            "wq": np.ones((3, 2, 1, 1), np.int8),
            "ws": np.ones(3, np.float32),
            "wz": np.zeros(3, np.int8),
            "bq": np.ones(3, np.int32),
            "bs": np.ones(3, np.float32),
            "v": np.ones((5, 3, 1, 1), np.float32),
        },
    )


def test_int8_weights_count_once_and_their_layout_not(tmp_path: Path) -> None:
    save_onnx(int8_conv(), tmp_path / "m.onnx")
    found = facts(tmp_path / "m.onnx")
    assert found.parameters == 3 * 2 + 3 + 5 * 3
    assert found.macs == 16 * 3 * 2 + 16 * 5 * 3
    assert found.int8_share == pytest.approx(6 / 21)


@pytest.mark.parametrize(
    ("text", "weight", "macs"),
    [
        ("(float[N, 2, 4] x) => (float[N, 3, 9] y) { y = ConvTranspose<strides=[2]>(x, w) }",
         np.ones((2, 3, 3), np.float32), 2 * 4 * 3 * 3),
        ("(float[6, N] x) => (float[N, 5] y) { y = Gemm<transA=1>(x, w) }",
         np.ones((6, 5), np.float32), 6 * 5),
        ("(float[N, 4, 8, 8] x) => (float[N, 4, 8, 8] y) "
         "{ y = Conv<group=4, pads=[1,1,1,1]>(x, w) }",
         np.ones((4, 1, 3, 3), np.float32), 4 * 64 * 9),
    ],
)  # fmt: skip
def test_macs_of_other_layers(text: str, weight: Any, macs: int, tmp_path: Path) -> None:
    save_onnx(build(text, {"w": weight}), tmp_path / "m.onnx")
    assert facts(tmp_path / "m.onnx", lengths={"N": 1}).macs == macs


def test_shapes_computed_in_the_graph_are_followed(tmp_path: Path) -> None:
    """Old exporters build the sizes of a Pad or Reshape from nodes that inference cannot follow."""
    model = build(
        """(float[N, 2, 8] x) => (float[N, 3] y) {
            shape = Shape(x)
            ends = ConstantOfShape<value = int64[1] {0}>(three)
            tail = Cast<to = 7>(half)
            pads = Concat<axis = 0>(ends, zeros, tail)
            p = Pad(x, pads)
            f = Flatten(p)
            y = Gemm(f, w)
        }""",
        {
            "three": np.array([3], np.int64),
            "half": np.array([1.0], np.float32),
            "zeros": np.array([0, 0], np.int64),
            "w": np.ones((18, 3), np.float32),
        },
    )
    save_onnx(model, tmp_path / "m.onnx")
    assert facts(tmp_path / "m.onnx").macs == 18 * 3


def test_weights_and_names_are_not_structure(pixels: Any, tmp_path: Path) -> None:
    model = onnx.load(pixels.path)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            array = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(array * 2, "renamed." + tensor.name))
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = f"renamed.{name}" if _is_float(model, f"renamed.{name}") else name
    save_onnx(model, tmp_path / "m.onnx")
    assert same_structure(pixels.path, tmp_path / "m.onnx")


def _is_float(model: ModelProto, name: str) -> bool:
    return any(tensor.name == name for tensor in model.graph.initializer)


def change_attribute(model: ModelProto) -> None:
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    next(a for a in conv.attribute if a.name == "strides").ints[:] = [1, 1]


def change_width(model: ModelProto) -> None:
    last = next(t for t in model.graph.initializer if list(t.dims) == [10, 8])
    last.CopyFrom(numpy_helper.from_array(np.zeros((11, 8), np.float32), last.name))


def change_wiring(model: ModelProto) -> None:
    add = next(node for node in model.graph.node if node.op_type == "Add")
    add.input[1] = add.input[0]


def change_type(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT8


def change_shape_constant(model: ModelProto) -> None:
    shape = next(t for t in model.graph.initializer if t.data_type == TensorProto.INT64)
    shape.CopyFrom(helper.make_tensor(shape.name, TensorProto.INT64, shape.dims, [1, 8]))


def change_opset(model: ModelProto) -> None:
    model.opset_import[0].version = 19


@pytest.mark.parametrize(
    "change",
    [
        change_attribute,
        change_width,
        change_wiring,
        change_type,
        change_shape_constant,
        change_opset,
    ],
)
def test_what_can_change_speed_is_structure(change: Any, pixels: Any, tmp_path: Path) -> None:
    model = onnx.load(pixels.path)
    change(model)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert not same_structure(pixels.path, tmp_path / "m.onnx")


def test_a_zero_point_that_stops_a_fusion_is_structure(tmp_path: Path) -> None:
    low, middle = int8_conv(), int8_conv()
    zero = next(t for t in middle.graph.initializer if t.name == "z")
    zero.CopyFrom(numpy_helper.from_array(np.array(128, np.uint8), "z"))
    save_onnx(low, tmp_path / "a.onnx")
    save_onnx(middle, tmp_path / "b.onnx")
    assert not same_structure(tmp_path / "a.onnx", tmp_path / "b.onnx")


@pytest.mark.parametrize(("kind", "gates"), [("GRU", 3), ("LSTM", 4), ("RNN", 1)])
def test_recurrent_layers_count_and_int8_behind_them_is_a_small_share(
    kind: str, gates: int, tmp_path: Path
) -> None:
    """7 steps, 2 directions, 5 features, 6 hidden units; the last layer alone is in INT8."""
    text = f"""(float[batch, 7, 5] x) => (float[n, 4] y) {{
        f = Transpose<perm = [1, 0, 2]>(x)
        a, h = {kind}<hidden_size = 6, direction = "bidirectional">(f, w, r)
        t = Transpose<perm = [1, 0, 2]>(h) e = Flatten(t)
        q = QuantizeLinear(e, s, z) d = DequantizeLinear(q, s, z)
        v = DequantizeLinear<axis = 1>(vq, vs) y = MatMul(d, v)
    }}"""
    rows = gates * 6
    weights: dict[str, np.ndarray[Any, Any]] = {
        "w": np.ones((2, rows, 5), np.float32),
        "r": np.ones((2, rows, 6), np.float32),
        "s": np.array(0.1, np.float32),
        "z": np.array(0, np.uint8),
        "vq": np.ones((12, 4), np.int8),
        "vs": np.ones(4, np.float32),
    }
    save_onnx(build(text, weights), tmp_path / "m.onnx")
    found = facts(tmp_path / "m.onnx")
    inner, last = 7 * 2 * rows * (5 + 6), 12 * 4
    assert found.macs == inner + last
    assert found.int8_share == pytest.approx(last / (inner + last))
    assert found.int8_bytes_share == pytest.approx(48 / (48 + 4 * 2 * rows * 11))
    assert found.float_weights == {kind: pytest.approx(2 * rows * 11 / (48 + 2 * rows * 11))}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_type_of_float_weights_is_read(dtype: str, tmp_path: Path) -> None:
    kind = {"float32": "float", "float16": "float16"}[dtype]
    text = f"({kind}[1, 4] x) => ({kind}[1, 3] y) {{ y = Gemm(x, w, b) }}"
    weights = {"w": np.ones((4, 3), dtype), "b": np.ones(3, dtype)}
    save_onnx(build(text, weights), tmp_path / "m.onnx")
    assert facts(tmp_path / "m.onnx").float_type == dtype

"""Laws of the variant for TensorRT: symmetric, float biases, rounded inputs and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

from edgekd.exporters.onnx_files import load_onnx, save_onnx
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.shapes import opset_of
from edgekd.exporters.tensorrt import rtx
from edgekd.exporters.tensorrt.proof import prove_int8
from edgekd.quantization.layouts import TENSORRT
from edgekd.quantization.static import quantize_int8
from tests.edgekd.quantization.conftest import ATTENTION, CNN, Build, random
from tests.edgekd.quantization.conftest import WEIGHTS as PARTS

RESIDUAL = """(float[batch, 4, 8, 8] x) => (float[batch, 4, 8, 8] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
    r = Relu(a)
    c = Conv<pads = [1, 1, 1, 1]>(r, w2)
    s = Add(r, c)
    u = Relu(s)
    d = Conv(u, w3)
    both = Concat<axis = 1>(u, d)
    y = Conv(both, w4, b1)
}"""
WEIGHTS = {
    "w1": random(4, 4, 3, 3),
    "b1": random(4),
    "w2": random(4, 4, 3, 3, scale=0.5),
    "w3": random(4, 4, 1, 1),
    "w4": random(4, 8, 1, 1),
}


class Written:
    """A file by the names of its tensors."""

    def __init__(self, path: Path) -> None:
        self.model = load_onnx(path)
        self.makers = {name: node for node in self.model.graph.node for name in node.output}
        self.arrays: Mapping[str, NDArray[Any]] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer
        }

    def nodes(self, operator: str) -> list[NodeProto]:
        return [node for node in self.model.graph.node if node.op_type == operator]

    def origin(self, name: str) -> str:
        """Return what was rounded to give a tensor, or "" if it was not rounded."""
        maker = self.makers.get(name)
        if maker is None or maker.op_type != "DequantizeLinear":
            return ""
        before = self.makers.get(maker.input[0])
        return maker.input[0] if before is None else str(before.input[0])

    def scale(self, name: str) -> float:
        return float(self.arrays[self.makers[name].input[1]])


@pytest.fixture(scope="module")
def residual(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Written:
    x = random(8, 4, 8, 8)
    target = tmp_path_factory.mktemp("tensorrt") / "q.onnx"
    quantize_int8(build(RESIDUAL, WEIGHTS), target, lambda: iter([{"x": x}]), layout=TENSORRT)
    return Written(target)


def test_the_numbers_are_those_computed_by_hand(build: Build, tmp_path: Path) -> None:
    text = "(float[batch, 2] x) => (float[batch, 2] y) { y = Gemm<beta = 0.5>(x, w, b) }"
    weight = np.array([[1.0, -2.0], [0.5, 4.0]], np.float32)
    weights = {"w": weight, "b": np.array([0.123456, -9.0], np.float32)}
    x = np.array([[-12.7, 0.06], [3.0, 12.6]], np.float32)
    quantize_int8(
        build(text, weights), tmp_path / "q.onnx", lambda: iter([{"x": x}]), layout=TENSORRT
    )
    # The scale of x is 12.7 / 127 = 0.1; those of w are 1 / 127 and 4 / 127 by column, in which
    # -2 is -63.5, rounded to the even -64, and 0.5 is 63.5, rounded to 64.
    rounded = np.array([[1.0, -64 * 4 / 127], [64 / 127, 4.0]])
    want = np.array([[-12.7, 0.1], [3.0, 12.6]]) @ rounded + [0.061728, -4.5]
    got = predictor(tmp_path / "q.onnx")({"x": x})["y"]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_all_is_symmetric_and_only_weights_lack_a_q(residual: Written) -> None:
    for node in [*residual.nodes("QuantizeLinear"), *residual.nodes("DequantizeLinear")]:
        zero = residual.arrays[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert (residual.arrays[node.input[1]] > 0).all()
    for node in residual.nodes("DequantizeLinear"):
        if node.input[0] in residual.arrays:
            weight = residual.arrays[node.input[0]]
            assert weight.dtype == np.int8
            assert residual.arrays[node.input[1]].shape == (len(weight),)
            assert [a.i for a in node.attribute if a.name == "axis"] == [0]


def test_layers_read_rounded_inputs_and_give_float_outputs(residual: Written) -> None:
    convolutions = residual.nodes("Conv")
    assert [residual.origin(node.input[0]) for node in convolutions] == ["x", "r", "u", "both"]
    assert all(residual.origin(node.input[1]) for node in convolutions)
    biases = [node.input[2] for node in convolutions if len(node.input) > 2]
    assert [residual.arrays[name].dtype for name in biases] == [np.float32, np.float32]
    outputs = {name for node in convolutions for name in node.output}
    rounded = {name for node in residual.nodes("QuantizeLinear") for name in node.input[:1]}
    assert rounded == {"x", "r", "u", "both"}
    assert rounded.isdisjoint(outputs)
    assert [residual.makers[node.input[0]].op_type for node in residual.nodes("Relu")] == [
        "Conv",
        "Add",
    ]


def test_of_an_addition_the_residual_alone_is_rounded(residual: Written) -> None:
    (addition,) = residual.nodes("Add")
    assert [residual.origin(name) for name in addition.input] == ["r", ""]
    assert residual.makers[addition.input[1]].op_type == "Conv"


def test_what_a_concat_joins_has_one_scale(residual: Written) -> None:
    both = residual.nodes("Conv")[3].input[0]
    u = residual.nodes("Conv")[2].input[0]
    assert residual.scale(u) == residual.scale(both)
    assert not any(residual.origin(name) for name in residual.nodes("Concat")[0].input)


def test_a_network_of_pictures_follows(
    cnn: Path, pictures: Any, batched: Any, tmp_path: Path
) -> None:
    facts = quantize_int8(cnn, tmp_path / "q.onnx", batched(pictures, 8), layout=TENSORRT)
    assert (facts.layers, facts.left, facts.weights, facts.activations) == (3, {}, "int8", "int8")
    want = predictor(cnn)(pictures)["logits"]
    got = predictor(tmp_path / "q.onnx")(pictures)["logits"]
    assert 10 * np.log10((want**2).sum() / ((want - got) ** 2).sum()) > 25
    assert opset_of(load_onnx(tmp_path / "q.onnx")) <= 20
    assert CNN.count("Clip") == len(Written(tmp_path / "q.onnx").nodes("Clip"))


def test_an_operator_set_beyond_20_is_lowered(build: Build, tmp_path: Path) -> None:
    x = random(8, 4, 8, 8)
    source = build(RESIDUAL, WEIGHTS, opset=21)
    quantize_int8(source, tmp_path / "q.onnx", lambda: iter([{"x": x}]), layout=TENSORRT)
    assert opset_of(load_onnx(tmp_path / "q.onnx")) == 20
    want, got = predictor(source)({"x": x})["y"], predictor(tmp_path / "q.onnx")({"x": x})["y"]
    assert 10 * np.log10((want**2).sum() / ((want - got) ** 2).sum()) > 25


def test_an_attention_keeps_its_products_of_activations(
    attention: Path, batched: Any, tmp_path: Path
) -> None:
    tokens = {"tokens": np.arange(48).reshape(8, 6) % 40}
    quantize_int8(attention, tmp_path / "q.onnx", batched(tokens, 4), layout=TENSORRT)
    written = Written(tmp_path / "q.onnx")
    rounded = [all(written.origin(name) for name in n.input) for n in written.nodes("MatMul")]
    assert rounded == [True, True, False, False, True]
    assert not any(written.origin(name) for n in written.nodes("Add") for name in n.input)


@pytest.mark.skipif(bool(rtx.missing()), reason=rtx.missing())
def test_tensorrt_runs_every_claimed_layer_in_int8(
    build: Build, residual: Written, cnn: Path, pictures: Any, batched: Any, tmp_path: Path
) -> None:
    save_onnx(residual.model, tmp_path / "residual.onnx")
    quantize_int8(cnn, tmp_path / "cnn.onnx", batched(pictures, 8), layout=TENSORRT)
    attention = build(ATTENTION, {**PARTS[ATTENTION], "wk": random(8, 8)[::-1].copy()})
    tokens = {"tokens": np.arange(48).reshape(8, 6) % 40}
    quantize_int8(attention, tmp_path / "attention.onnx", batched(tokens, 4), layout=TENSORRT)
    for name, layers in [("residual", 4), ("cnn", 3), ("attention", 3)]:
        proof = prove_int8(tmp_path / f"{name}.onnx")
        assert (proof.holds, len(proof.int8)) == (True, layers), proof.summary()

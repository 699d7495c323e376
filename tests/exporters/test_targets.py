"""What `edgekd export` writes runs, gives the outputs that it had, and has no free axis."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import parser

from edgekd.benchmarks.feeds import model_inputs, save_feeds
from edgekd.errors import ModelError, RecipeError
from edgekd.exporters.ort_format import OPERATORS
from edgekd.exporters.target import open_source
from edgekd.exporters.targets import find_target

HEAD = '<ir_version: 8, opset_import: ["": 17]> g '
GRAPHS = {
    "plain": "(float[batch,4] x) => (float[batch,4] y) { y = Relu(x) }",
    "two outputs and a scalar": "(float[batch,4] x) => (float[batch,4] y, float most) "
    "{ y = Relu(x) most = ReduceMax<keepdims = 0>(x) }",
    "pixels": "(uint8[batch,4,4,3] image) => (float[batch,4,4,3] y) { y = Cast<to = 1>(image) }",
    "a scalar input": "(float[batch,4] x, float factor) => (float[batch,4] y) "
    "{ y = Mul(x, factor) }",
    "whole numbers": "(int64[batch,4] x) => (int64[batch,4] y) { y = Mul(x, x) }",
    "a fixed batch": "(float[3,4] x) => (float[3,4] y) { y = Relu(x) }",
    "infinite": "(float[batch,4] x) => (float[batch,4] y) "
    "{ z = Sub(x, x) y = Log(z) }",  # minus infinity, as a mask may be
}


def save(folder: Path, graph: str, name: str = "net.onnx") -> Path:
    folder.mkdir(exist_ok=True)
    onnx.save(parser.parse_model(HEAD + graph), folder / name)
    return folder / name


def export(path: Path, target: str, **more: Any) -> Any:
    return find_target(target).export(open_source(path, **more), target)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
@pytest.mark.parametrize("target", ["ort-arm", "qnn"])
def test_a_file_of_any_form_comes_out_and_runs(graph: str, target: str, tmp_path: Path) -> None:
    path = save(tmp_path / "my nets", graph)
    found = export(path, target)
    (name,) = [name for name in found.files if not name.endswith(".config")]
    assert name == {"ort-arm": "net.ort", "qnn": "net.qnn.onnx"}[target]
    session = onnxruntime.InferenceSession(found.files[name])
    assert [e.name for e in session.get_inputs()] == [e.name for e in model_inputs(path)]
    assert str(tmp_path) not in found.text
    if target == "qnn":
        assert all(isinstance(n, int) for e in session.get_inputs() for n in e.shape)
    else:
        assert "ai.onnx;" in found.files[OPERATORS]
        assert "#" not in found.files[OPERATORS]


def test_names_with_spaces_stay(tmp_path: Path) -> None:
    path = save(tmp_path, GRAPHS["plain"])
    model = onnx.load(path)
    model.graph.input[0].name = model.graph.node[0].input[0] = "my input"
    onnx.save(model, path)
    for target in ("ort", "coreml"):
        data = next(v for n, v in export(path, target).files.items() if not n.endswith("config"))
        assert onnxruntime.InferenceSession(data).get_inputs()[0].name == "my input"


def test_the_length_of_a_text_must_be_known(tmp_path: Path) -> None:
    path = save(tmp_path, "(int64[batch,words] x) => (int64[batch,words] y) { y = Mul(x, x) }")
    with pytest.raises(RecipeError, match=r"axis 1 of the input 'x'.*--length words=128"):
        export(path, "qnn")
    found = export(path, "qnn", lengths={"words": (1, 8, 16)}, batch=(1, 2, 4))
    session = onnxruntime.InferenceSession(found.files["net.qnn.onnx"])
    assert session.get_inputs()[0].shape == [2, 16]


def test_the_variant_is_that_of_the_runtime_else_float(tmp_path: Path) -> None:
    for variant in ("fp32", "int8", "int8-tensorrt"):
        save(tmp_path, GRAPHS["plain"], f"model.{variant}.onnx")
    assert list(export(tmp_path, "qnn").files) == ["model.int8.qnn.onnx"]
    coreml = export(tmp_path, "coreml")
    assert list(coreml.files) == ["model.fp32.coreml.onnx"]
    assert "fp16, which suits coreml best, is not here: edgekd quantize" in coreml.text
    assert sorted(export(tmp_path, "ort-arm").files) == [
        *("model.fp32.ort", "model.int8.ort", OPERATORS),
    ]


def test_float16_that_an_ort_file_does_not_keep_is_left_out_with_its_reason(tmp_path: Path) -> None:
    save(tmp_path, GRAPHS["plain"], "model.fp32.onnx")
    halves = "{ h = Cast<to = 10>(x) r = Relu(h) y = Cast<to = 1>(r) }"
    save(tmp_path, f"(float[batch,4] x) => (float[batch,4] y) {halves}", "model.fp16.onnx")
    found = export(tmp_path, "ort")
    assert sorted(found.files) == ["model.fp32.ort", OPERATORS]
    assert "model.fp16.ort is left out: it is no smaller than that of FP32" in found.notes


def test_a_file_that_cannot_be_converted_is_left_out_with_its_reason(tmp_path: Path) -> None:
    save(tmp_path, GRAPHS["plain"], "model.fp32.onnx")
    model = onnx.load(tmp_path / "model.fp32.onnx")
    model.graph.node[0].op_type, model.graph.node[0].domain = "Nonesuch", "of.mine"
    model.opset_import.append(onnx.helper.make_opsetid("of.mine", 1))
    onnx.save(model, tmp_path / "model.int8.onnx")
    found = export(tmp_path, "ort")
    assert "model.int8.ort is left out" in found.text
    assert sorted(found.files) == ["model.fp32.ort", OPERATORS]
    (tmp_path / "model.fp32.onnx").unlink()
    with pytest.raises(ModelError, match=r"no file of .* becomes an \.ort file"):
        export(tmp_path, "ort")


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs openvino")
def test_openvino_reads_and_follows_what_is_written(tmp_path: Path) -> None:
    """A product in INT8 by hand: OpenVINO has a kernel for it, and the outputs agree."""
    weights = np.linspace(-127, 127, 64 * 64).astype(np.int8).reshape(64, 64)
    path = save(
        tmp_path,
        "(float[batch,64] x) => (float[batch,64] y) <uint8 zero = {128}, float scale = {0.02}, "
        "float w_scale = {0.01}> { q = QuantizeLinear(x, scale, zero) "
        "a = DequantizeLinear(q, scale, zero) w = DequantizeLinear(stored, w_scale) "
        "y = MatMul(a, w) }",
        "model.int8.onnx",
    )
    model = onnx.load(path)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "stored"))
    onnx.save(model, path)
    found = export(tmp_path, "openvino")
    assert "model.int8.onnx: OpenVINO gives its outputs within" in found.text
    assert "1 of 1 layers run in INT8" in found.text
    assert not found.files


def test_golden_inputs_of_a_bundle_are_used_and_may_be_damaged(tmp_path: Path) -> None:
    path = save(tmp_path, GRAPHS["plain"], "model.fp32.onnx")
    (tmp_path / "golden").mkdir()
    stored = tmp_path / "golden" / "inputs.npz"
    save_feeds(stored, {"0/x": np.full((1, 4), 7, np.float32)})
    assert "on 1 calls" in export(tmp_path, "qnn").text
    stored.write_bytes(b"not an archive")
    with pytest.raises(ModelError, match=r"inputs.npz cannot be read .*copy the bundle again"):
        export(tmp_path, "qnn")
    assert path.exists()

"""A teacher's answers from its file: in bfloat16 by OpenVINO where it can, else by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.exporters.ort_session import predictor
from edgekd.training.teacher_file import openvino_in_bf16

pytest.importorskip("openvino")


def _save(path: Path, *, domain: str = "") -> Path:
    weight = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["logits"], domain=domain)
    graph = helper.make_graph(
        [node],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("nowhere.else", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_answers_in_bfloat16_are_those_of_the_file_within_its_precision(tmp_path: Path) -> None:
    path = _save(tmp_path / "teacher.onnx")
    predict = openvino_in_bf16(path, threads=1)
    assert predict is not None
    for samples in (8, 3):  # the last batch of an epoch is a shorter one
        x = np.random.default_rng(samples).normal(size=(samples, 64)).astype(np.float32)
        known = {"x": x, "unknown": x}  # a file may use fewer inputs than the data gives
        wanted = predictor(path)(known)["logits"]
        found = predict(known)["logits"]
        assert found.shape == (samples, 10)
        assert found.dtype == np.float32
        # 64 products, each rounded twice to 8 bits: 2**-8 of the terms' root sum of squares
        np.testing.assert_allclose(found, wanted, atol=5 * 2**-8 * np.sqrt(64))


def test_a_file_that_openvino_cannot_run_is_left_to_onnx_runtime(tmp_path: Path) -> None:
    assert openvino_in_bf16(_save(tmp_path / "own.onnx", domain="nowhere.else"), threads=1) is None

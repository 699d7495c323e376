"""What makes a teacher's stage another one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgekd.teacher.step import OnnxTeacher


def _save(path: Path, *, value: float) -> None:
    weight = np.full((4, 3), value, np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, ir_version=10)
    (path.parent / "w.data").unlink(missing_ok=True)  # onnx would append to it
    onnx.save(model, path, save_as_external_data=True, location="w.data", size_threshold=0)


def test_weights_in_a_file_of_their_own_are_content_of_a_bare_model(tmp_path: Path) -> None:
    step = OnnxTeacher(onnx="model.onnx")
    _save(tmp_path / "model.onnx", value=1.0)
    graph, before = (tmp_path / "model.onnx").read_bytes(), step.content(tmp_path)
    _save(tmp_path / "model.onnx", value=2.0)
    assert (tmp_path / "model.onnx").read_bytes() == graph
    assert step.content(tmp_path) != before

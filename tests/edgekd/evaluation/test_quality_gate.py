"""A file is judged while it is made, by the numbers that the gate will see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from edgekd.artifact import Artifact, seal_artifact
from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.preprocess import ArrayPreprocess, write_preprocess
from edgekd.evaluation.predictions import Predictions
from edgekd.evaluation.quality_gate import QualityGate
from edgekd.exporters.onnx_files import save_onnx
from edgekd.options import Budget
from edgekd.tasks.classification import Classification


def artifact(folder: Path, weights: Any) -> Artifact:
    """Return a network of one product, x @ weights."""
    product = helper.make_node("MatMul", ["x", "w"], ["logits"])
    x = helper.make_tensor_value_info("x", 1, ["batch", 3])
    y = helper.make_tensor_value_info("logits", 1, ["batch", 3])
    w = numpy_helper.from_array(np.asarray(weights, "f"), "w")
    graph = helper.make_graph([product], "g", [x], [y], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    partial = folder.with_suffix(".partial")
    partial.mkdir()
    save_onnx(model, partial / "model.fp32.onnx")
    write_preprocess(partial, ArrayPreprocess(names=("x",)))
    return seal_artifact(partial, folder, [])


@pytest.mark.parametrize(("max_drop", "within"), [(24.0, False), (25.0, True), (26.0, True)])
def test_the_drop_by_hand(max_drop: float, within: bool, tmp_path: Path) -> None:
    """The teacher is right; the other takes the third class, 3 samples of 12, for the first."""
    label = np.array([0, 1, 2] * 3 + [0, 1, 0])
    dataset = Dataset("array", {"x": np.eye(3, dtype="f")[label]}, {"label": label})
    index = np.arange(12)
    data = Data(dataset, {"validation": index}, augment=Augment(), seed=0)
    teacher = artifact(tmp_path / "teacher", np.eye(3))
    other = artifact(tmp_path / "other", [[1, 0, 0], [0, 1, 0], [1, 0, 0]])
    gate = QualityGate(
        Predictions(
            task=Classification(),
            task_identity="",
            data=data,
            split="validation",
            teacher=teacher,
            folder=tmp_path / "predictions",
        ),
        Budget(max_drop=max_drop),
    )
    judged = gate.judge(other, other.onnx("fp32"))
    assert judged.within is within
    assert judged.text.startswith("-25.00 points relative to the teacher")
    assert gate.judge(teacher, teacher.onnx("fp32")).within

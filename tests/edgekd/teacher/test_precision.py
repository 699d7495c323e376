"""A file whose weights are no float32 is called what it is, before anything is timed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgekd.data.input_options import InputSpec
from edgekd.progress import Silent
from edgekd.teacher.step import OnnxTeacher
from tests.edgekd.teacher.test_stated_pixels import context


class Lines(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_weights_that_cannot_be_quantized_are_told_first(dtype: str, tmp_path: Path) -> None:
    kinds = {"float32": 1, "float16": 10}
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> '
        "net (float[n, 3, 4, 4] x) => (float[n, 2, 4, 4] y) "
        f"{{ h = Cast<to = {kinds[dtype]}>(x) c = Conv(h, w) y = Cast<to = 1>(c) }}"
    )
    model = parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((2, 3, 1, 1), dtype), "w"))
    onnx.save(model, tmp_path / "net.onnx")
    lines = Lines()
    asked = InputSpec.model_validate({"mean": [0, 0, 0], "std": [1, 1, 1]})
    OnnxTeacher(onnx="net.onnx", input=asked).look(replace(context(tmp_path), progress=lines))
    told = [line for line in lines.said if "the weights of net.onnx are float16" in line]
    assert len(told) == (dtype == "float16")

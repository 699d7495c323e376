"""A written file states how its pixels are scaled, and edgekd reads it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.artifact import Artifact
from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset
from edgekd.data.input_options import InputSpec
from edgekd.data.preprocess import read_preprocess
from edgekd.errors import ModelError
from edgekd.exporters.onnx_metadata import state_pixels, stated_scale
from edgekd.options import Budget
from edgekd.step import Context
from edgekd.teacher.step import OnnxTeacher

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def pool() -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3, 1, 1])],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, ir_version=8, opset_imports=opset)


def context(root: Path) -> Context:
    """Pictures without labels: a scale that nothing states is refused."""
    rows = np.arange(6)
    pictures = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8)
    dataset = Dataset("image", {"image": pictures}, {})
    data = Data(dataset, {"train": rows, "validation": rows}, augment=Augment(), seed=0)
    rest: dict[str, Any] = {"task": None, "device": None}
    return Context(data=data, teachers=(), budget=Budget(), seed=0, root=root, identity={}, **rest)


@pytest.mark.parametrize("metadata", [{}, {"Mean": "0.5", "std": "0.5"}, {"names": "a, b"}])
@pytest.mark.parametrize("colours", ["rgb", "bgr"])
def test_what_was_asked_for_is_read_from_the_written_file(
    tmp_path: Path, metadata: dict[str, str], colours: str
) -> None:
    model = pool()
    helper.set_model_props(model, metadata)
    onnx.save(model, tmp_path / "net.onnx")
    here = context(tmp_path)
    onnx.save(pool(), tmp_path / "silent.onnx")
    with pytest.raises(ModelError, match=r"nothing states how silent\.onnx wants"):
        OnnxTeacher(onnx="silent.onnx").look(here)
    mean, std = IMAGENET
    asked = InputSpec.model_validate({"mean": mean, "std": std, "colours": colours})
    step = OnnxTeacher(onnx="net.onnx", input=asked)
    step.apply(Artifact(tmp_path, {}), here, tmp_path)
    again = OnnxTeacher(onnx="model.fp32.onnx").look(here).preprocess
    assert again == step.look(here).preprocess
    assert again.model_dump() == read_preprocess(tmp_path).model_dump()


@pytest.mark.parametrize(
    ("mean", "std"), [*[((m,), (s,)) for m, s in ((0, 1), (0, 255), (127.5, 127.5))], IMAGENET]
)
def test_every_scale_is_read_as_it_was_written(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    model = pool()
    state_pixels(model, mean=mean, std=std, colours="rgb", layout="nchw", resize="crop")
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert (found["layout"], found["resize"]) == ("nchw", "crop")
    read = stated_scale(found)
    assert read is not None
    np.testing.assert_array_equal(np.atleast_1d(read[0]), mean)
    np.testing.assert_array_equal(np.atleast_1d(read[1]), std)

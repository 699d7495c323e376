"""The step drops a variant that its runtime refuses, with the reason, and goes on with the rest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
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
from edgekd.errors import NothingToDo
from edgekd.exporters.lint.shipped import lint_variant, why_refused
from edgekd.exporters.onnx_files import load_onnx, save_onnx
from edgekd.exporters.tensorrt import rtx
from edgekd.pipeline.stage import run_step
from edgekd.quantization.quantized import QUANTIZED, read_dropped
from edgekd.quantization.step import Quantize
from edgekd.step import Context

Build = Callable[..., Path]

REFUSED = """(float[batch, 3, 8, 8] x) => (float[batch, 4, 8, 8] y, float[batch, 3] d) {
    y = Conv<pads = [1, 1, 1, 1]>(x, w)
    d = Det(x)
}"""
TAKEN = """(float[batch, 3, 8, 8] x) => (float[batch, 4, 8, 8] y) {
    y = Conv<pads = [1, 1, 1, 1]>(x, w)
}"""
WEIGHTS = {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype("f")}


def sealed(path: Path, folder: Path) -> Artifact:
    """Return a float file as the source of a step."""
    partial = folder / "source.partial"
    partial.mkdir(parents=True)
    shutil.copyfile(path, partial / "model.fp32.onnx")
    write_preprocess(partial, ArrayPreprocess(names=("x",)))
    return seal_artifact(partial, folder / "source", [])


def quantize(path: Path, folder: Path, *variants: Any) -> Artifact:
    """Run the step as a run does."""
    x = np.random.default_rng(1).standard_normal((24, 3, 8, 8)).astype("f")
    dataset = Dataset("array", {"x": x}, {})
    data = Data(dataset, {"calibration": np.arange(24)}, augment=Augment(), seed=0)
    bare: dict[str, Any] = dict.fromkeys(("task", "device", "budget"))
    identity: Any = {"calibration data": "of this test"}
    context = Context(**bare, data=data, teachers=(), seed=0, root=folder, identity=identity)
    step = Quantize(samples=24, variants=variants)
    return run_step(step, sealed(path, folder), context, folder / "stages")


def test_a_variant_that_its_runtime_refuses_is_dropped_with_the_reason(
    build: Build, tmp_path: Path
) -> None:
    stage = quantize(build(REFUSED, WEIGHTS), tmp_path, "int8", "int8-tensorrt")
    assert stage.variants == ("fp32", "int8")
    assert not list(stage.folder.glob("*tensorrt*"))
    (reason,) = read_dropped(stage.folder)
    assert reason.startswith("int8-tensorrt: ")
    assert "TensorRT 11 has no Det" in reason
    assert set(json.loads((stage.folder / QUANTIZED).read_text())) == {"int8"}


def test_the_step_is_skipped_where_no_variant_is_left(build: Build, tmp_path: Path) -> None:
    with pytest.raises(NothingToDo, match="TensorRT 11 has no Det"):
        quantize(build(REFUSED, WEIGHTS), tmp_path, "int8-tensorrt")


def test_what_the_runtime_takes_is_kept(build: Build, tmp_path: Path) -> None:
    stage = quantize(build(TAKEN, WEIGHTS), tmp_path, "int8-tensorrt", "fp16")
    assert stage.variants == ("fp32", "fp16", "int8-tensorrt")
    assert read_dropped(stage.folder) == ()
    assert stage.history[-1]["environment"]["TensorRT-RTX"] == rtx.installed()


@pytest.mark.skipif(bool(rtx.missing()), reason=rtx.missing() or "-")
def test_what_only_an_engine_shows_is_a_refusal_too(build: Build, tmp_path: Path) -> None:
    """No rule is about NonZero, and TensorRT-RTX does not read it."""
    body = TAKEN.replace(" y) {", " y, int64[4, found] places) {\n    places = NonZero(x)")
    with pytest.raises(NothingToDo, match=r"TensorRT-RTX [\d.]+ cannot read the file: NonZero"):
        quantize(build(body, WEIGHTS), tmp_path, "int8-tensorrt")


def test_a_file_for_cpus_that_gives_another_result_is_refused(build: Build, tmp_path: Path) -> None:
    """Scales along the axis of the input channels: the kernel takes them for the others."""
    stage = quantize(build(TAKEN, WEIGHTS), tmp_path, "int8")
    path = stage.onnx("int8")
    assert why_refused(path, "int8", lint_variant(path, "int8")) == ""
    model = load_onnx(path)
    of_weight = next(
        node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and any(a.name == "axis" for a in node.attribute)
    )
    del of_weight.attribute[:]
    of_weight.attribute.append(helper.make_attribute("axis", 1))
    for name in of_weight.input[1:]:
        tensor = next(t for t in model.graph.initializer if t.name == name)
        cut = numpy_helper.to_array(tensor)[:3]
        tensor.CopyFrom(numpy_helper.from_array(cut, name))
    save_onnx(model, tmp_path / "wrong.onnx")
    found = lint_variant(tmp_path / "wrong.onnx", "int8")
    assert "along axis 1" in why_refused(tmp_path / "wrong.onnx", "int8", found)

"""The step drops what a runtime refuses, and goes on with repairs until the budget is met."""

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
from edgekd.evaluation.predictions import Predictions
from edgekd.evaluation.quality_gate import QualityGate
from edgekd.exporters.lint.shipped import lint_variant, why_refused
from edgekd.exporters.onnx_files import load_onnx, save_onnx
from edgekd.exporters.ort_session import predictor
from edgekd.exporters.tensorrt import rtx
from edgekd.options import Budget
from edgekd.pipeline.stage import run_step
from edgekd.quantization.accuracy.escalation import WANTED_DB
from edgekd.quantization.quantized import QUANTIZED, read_dropped
from edgekd.quantization.step import Quantize
from edgekd.step import Context
from edgekd.tasks.classification import Classification

Build = Callable[..., Path]

REFUSED = """(float[batch, 3, 8, 8] x) => (float[batch, 4, 8, 8] y, float[batch, 3] d) {
    y = Conv<pads = [1, 1, 1, 1]>(x, w)
    d = Det(x)
}"""
TAKEN = """(float[batch, 3, 8, 8] x) => (float[batch, 4, 8, 8] y) {
    y = Conv<pads = [1, 1, 1, 1]>(x, w)
}"""
SPREAD = 3.3
CLASSIFIER = """(float[batch, 8, 8, 8] x) => (float[batch, 8] logits) {
    c1 = Conv<pads = [1, 1, 1, 1]>(x, w1)
    r1 = Relu(c1)
    c2 = Conv<pads = [1, 1, 1, 1]>(r1, w2)
    r2 = Relu(c2)
    c3 = Conv<pads = [1, 1, 1, 1]>(r2, w3)
    r3 = Relu(c3)
    c4 = Conv<pads = [1, 1, 1, 1]>(r3, w4)
    r4 = Relu(c4)
    f = Flatten(r4)
    logits = MatMul(f, w5)
}"""
WEIGHTS = {"w": np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype("f")}


def sealed(path: Path, folder: Path) -> Artifact:
    """Return a float file as the source of a step."""
    partial = folder / "source.partial"
    partial.mkdir(parents=True)
    shutil.copyfile(path, partial / "model.fp32.onnx")
    write_preprocess(partial, ArrayPreprocess(names=("x",)))
    return seal_artifact(partial, folder / "source", [])


def classify(build: Build) -> tuple[Path, Dataset]:
    """Return a network whose INT8 form is at 23 dB, and samples with what it says of them."""
    rng = np.random.default_rng(1)
    own = {f"w{i}": rng.standard_normal((8, 8, 3, 3)) for i in range(1, 5)}
    own["w5"] = rng.standard_normal((512, 8))
    own["w5"] -= own["w5"].mean(axis=0)  # no class is above the others everywhere
    sizes = np.geomspace(1 / SPREAD, SPREAD, 8)
    own["w2"] *= sizes.reshape(-1, 1, 1, 1)
    own["w3"] /= sizes.reshape(1, -1, 1, 1)
    path = build(CLASSIFIER, {name: value.astype("f") for name, value in own.items()})
    x = rng.standard_normal((224, 8, 8, 8)).astype("f")
    label = predictor(path)({"x": x})["logits"].argmax(axis=1)
    return path, Dataset("array", {"x": x}, {"label": label})


def quantize_within(max_drop: float, build: Build, folder: Path) -> tuple[Artifact, QualityGate]:
    """Run the step on that network with 200 labelled samples as the validation split."""
    path, dataset = classify(build)
    splits = {"calibration": np.arange(24), "validation": np.arange(24, 224)}
    data = Data(dataset, splits, augment=Augment(), seed=0)
    source = sealed(path, folder)
    predictions = Predictions(
        task=Classification(),
        task_identity="",
        data=data,
        split="validation",
        teacher=source,
        folder=folder / "predictions",
    )
    quality = QualityGate(predictions, Budget(max_drop=max_drop))
    bare: dict[str, Any] = dict.fromkeys(("task", "device", "budget"))
    identity: Any = {"calibration data": "", "quality": str(max_drop)}
    context = Context(
        **bare,
        data=data,
        teachers=(),
        seed=0,
        root=folder,
        identity=identity,
        quality=quality,
    )
    return run_step(Quantize(samples=24), source, context, folder / "stages"), quality


def test_repairs_go_on_until_the_budget_is_met_on_validation(build: Build, tmp_path: Path) -> None:
    (tmp_path / "loose").mkdir()
    (tmp_path / "tight").mkdir()
    loose, _ = quantize_within(50.0, build, tmp_path / "loose")
    tight, quality = quantize_within(2.25, build, tmp_path / "tight")
    plain, *none = repairs_of(loose)
    assert not none  # signal to noise and the budget allow it as it is
    first, *others = repairs_of(tight)
    assert plain["snr_db"] == first["snr_db"] >= WANTED_DB
    assert plain["quality"] == first["quality"]
    assert "points relative to the teacher" in first["quality"]
    assert others
    kept = [step for step in (first, *others) if step["kept"]]
    drops = [-float(step["quality"].split()[0]) for step in kept]
    assert all(drop > 2.25 for drop in drops[:-1])
    assert drops[-1] <= 2.25
    assert kept[-1] is others[-1]  # nothing is tried after it
    judged = quality.judge(tight, tight.onnx("int8"))  # the file itself, as the gate will see it
    assert judged.within
    assert judged.text == kept[-1]["quality"]


def repairs_of(stage: Artifact) -> list[dict[str, Any]]:
    """Return what was tried for its INT8 file."""
    found: list[dict[str, Any]] = json.loads((stage.folder / QUANTIZED).read_text())["int8"][
        "repairs"
    ]
    return found


def quantize(path: Path, folder: Path, *variants: Any) -> Artifact:
    """Run the step as a run does."""
    x = np.random.default_rng(1).standard_normal((24, 3, 8, 8)).astype("f")
    dataset = Dataset("array", {"x": x}, {})
    data = Data(dataset, {"calibration": np.arange(24)}, augment=Augment(), seed=0)
    bare: dict[str, Any] = dict.fromkeys(("task", "device", "budget"))
    identity: Any = {"calibration data": "of this test", "quality": ""}
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

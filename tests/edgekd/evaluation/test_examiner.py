"""Evidence is replayed for the same files, task and machine, and for nothing else."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.artifact import Artifact
from edgekd.benchmarks.measurement import Conditions, Setup
from edgekd.devices import DEVICES
from edgekd.devices.device import Device
from edgekd.devices.local import LocalDevice
from edgekd.evaluation.evidence import Evidence
from edgekd.evaluation.gate import REFERENCE
from edgekd.evaluation.results import Final
from edgekd.pipeline.final import Rung, measure_finalists
from edgekd.pipeline.setup import set_up
from edgekd.pipeline.stage import run_step
from edgekd.progress import Silent
from edgekd.recipe.overrides import changed
from edgekd.recipe.recipe import parse_recipe
from edgekd.store import file_sha256

TASK = """
import numpy as np
from edgekd.tasks.classification import Classification
from edgekd.tasks.task import Metric


def first(reduced):
    return np.asarray(100.0 * (reduced["answer"] == reduced["label"]))


def top_three(reduced):
    return np.full(len(reduced["label"]), 100.0)


class Own(Classification):
    metrics = (Metric("METRIC", "%", values=FUNCTION, is_percentage=True),)


def task():
    return Own()
"""

RECIPE: dict[str, Any] = {
    "name": "evidence",
    "task": "own.py:task",
    "data": {"path": "bars.npz", "validation": 0.1, "test": 0.1, "calibration": 16},
    "model": {"onnx": "plain.onnx", "input": {"mean": 60.0, "std": 60.0}},
    "budget": {"max_drop": 100.0},
    "allow_poor_teacher": True,
    "devices": ["machine"],
    "steps": [],
}


def machine(emulator: type[LocalDevice], cpu: str) -> Callable[[], Device]:
    """A machine with this processor, whose times are made up."""

    def conditions(setup: Setup) -> Conditions:
        return dataclasses.replace(LocalDevice().conditions(setup), cpu=cpu)

    def opened() -> Device:
        device = emulator()
        device.conditions = conditions  # type: ignore[method-assign]
        return device

    return opened


@pytest.fixture(scope="module")
def original(
    job: Path, tmp_path_factory: pytest.TempPathFactory, emulator: type[LocalDevice]
) -> Iterator[Path]:
    """A folder with a bare ONNX file, a linear layer on pixels, and an examined run of it."""
    folder = tmp_path_factory.mktemp("examined")
    weights = np.random.default_rng(0).normal(size=(576, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "plain",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 24, 24])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "weights")],
    )
    opset = [helper.make_opsetid("", 19)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "plain.onnx")
    shutil.copyfile(job / "bars.npz", folder / "bars.npz")
    write_task(folder, "first", "first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DEVICES, "machine", machine(emulator, "a processor"))
        examine(folder)
        yield folder


@pytest.fixture
def examined(original: Path, tmp_path: Path) -> Path:
    """A copy of it, to go on with."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


def write_task(folder: Path, metric: str, function: str) -> None:
    """Write the task's file, with one metric."""
    text = TASK.replace("METRIC", metric).replace("FUNCTION", function)
    (folder / "own.py").write_text(text)


def examine(folder: Path, *changes: str) -> tuple[Evidence, Final]:
    """Gather the evidence for the model as it comes, and the last session of it alone."""
    recipe = parse_recipe(changed(RECIPE, changes), origin="test")
    bench = set_up(recipe, root=folder, folder=folder / "run", progress=Silent())
    bench.stages.mkdir(parents=True, exist_ok=True)
    model = bench.recipe.model
    teacher = run_step(model, Artifact(bench.folder, {}), bench.context(None), bench.stages)
    evidence = bench.examiner(teacher).examine(teacher, teacher, name=model.name, makes=model.makes)
    rung = Rung("teacher", teacher, evidence, REFERENCE)
    return evidence, measure_finalists(bench, [rung])


def written(folder: Path) -> dict[str, str]:
    """The hash of every file of evidence, raw sessions included."""
    return {p.name: file_sha256(p) for p in (folder / "run" / "evidence").iterdir()}


def test_evidence_of_the_same_task_and_machine_is_replayed(examined: Path) -> None:
    before = written(examined)
    assert len(before) == 4
    examine(examined)
    assert written(examined) == before


def test_evidence_is_replayed_when_only_training_images_are_varied_otherwise(
    examined: Path,
) -> None:
    before = written(examined)
    examine(examined, "data.augment={shift=1, flip=true}", "data.calibration=20")
    assert written(examined) == before


def test_evidence_is_gathered_again_for_another_metric_of_the_same_name(examined: Path) -> None:
    write_task(examined, "first", "top_three")
    evidence, _ = examine(examined)
    (own,) = evidence.own
    assert {name: found.value for name, found in own.metrics.items()} == {"first": 100.0}


def test_evidence_in_a_folder_from_another_machine_is_timed_again(
    examined: Path, emulator: type[LocalDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEVICES, "machine", machine(emulator, "another processor"))
    for found in examine(examined):
        assert found.conditions is not None
        assert found.conditions.cpu == "another processor"

"""The test split is opened once: each file predicts it once, and a resumed run does not at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.devices import DEVICES
from edgekd.devices.local import LocalDevice
from edgekd.errors import RunFolderError
from edgekd.pipeline.compress import compress
from edgekd.recipe.recipe import parse_recipe

CODE = """
from pathlib import Path

import numpy as np

from edgekd.tasks.classification import Classification

SEEN = Path(__file__).with_name("seen.txt")


def data():
    values = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    values[:, 0] = np.arange(300)
    return {"x": values}, {"label": values[:, 1:4].argmax(axis=1)}


class Counting(Classification):
    def predict(self, model, inputs):
        with SEEN.open("a") as file:
            file.write("".join(f"{int(row[0])}\\n" for row in inputs["x"]))
        return model(inputs)


def task():
    return Counting()
"""

RECIPE: dict[str, Any] = {
    "name": "counted",
    "task": "counting.py:task",
    "data": {"call": "counting.py:data", "validation": 0.2, "test": 0.2, "calibration": 32},
    "allow_poor_teacher": True,
    "model": {"onnx": "linear.onnx"},
    "budget": {"max_drop": 100.0},
    "devices": ["emulator"],
    "steps": [{"name": "quantize", "samples": 32, "gate": False}],
}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, emulator: type[LocalDevice]) -> Iterator[Path]:
    """A folder with a task that writes down the samples it is asked about, and a run of it."""
    folder = tmp_path_factory.mktemp("counted")
    (folder / "counting.py").write_text(CODE)
    weights = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32)
    weights[0] = 0  # the sample's number says nothing about its class
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weights, "weights")],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), folder / "linear.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DEVICES, "emulator", emulator)
        run(folder)
        yield folder


def run(folder: Path) -> None:
    compress(parse_recipe(RECIPE, origin="test"), root=folder, out=folder / "run")


def openings(folder: Path) -> set[int]:
    """How many times samples of the test split were asked about: one number if all are equal."""
    splits = json.loads((folder / "run" / "splits.json").read_text(encoding="utf8"))
    seen = Counter(map(int, (folder / "seen.txt").read_text().split()))
    return {seen[index] for index in splits["test"]}


def test_every_file_predicts_the_test_split_once(job: Path) -> None:
    record = json.loads((job / "run" / "report.json").read_text(encoding="utf8"))
    assert [f["title"] for f in record["test"]["files"]] == ["teacher", "quantize"]
    assert record["changes"]["changed"] == len(record["changes"]["samples"])
    assert openings(job) == {2}
    before = (job / "run" / "report.json").read_bytes()
    run(job)
    assert openings(job) == {2}
    assert (job / "run" / "report.json").read_bytes() == before


def test_damaged_predictions_are_named(job: Path) -> None:
    stored = max((job / "run" / "predictions").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    whole = stored.read_bytes()
    stored.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunFolderError, match=rf"{stored.name} was changed after this run wrote it"):
        run(job)
    stored.write_bytes(whole)

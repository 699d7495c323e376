"""A run on several devices: the first decides, the others are measured and shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.benchmarks.runtimes import RUNTIMES, Runtime
from edgekd.errors import RecipeError
from edgekd.evaluation.record import Record, read_record
from edgekd.pipeline.compress import compress
from edgekd.recipe.recipe import parse_recipe
from edgekd.report.run.table import outcome
from edgekd.report.run.write import page

Run = Callable[..., Record]
REFUSES = """
class Engine:
    def __init__(self, arguments, feeds):
        raise ValueError("this runtime has no Flatten")
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of a bare ONNX file without any step, on the devices given."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (180, 24, 24), dtype=np.uint8)
    np.savez(tmp_path / "noise.npz", x=images, y=np.arange(180) % 3)
    weight = rng.standard_normal((576, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["logits"]),
        ],
        "line",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 24, 24])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "m.onnx")

    def work(*devices: Any) -> Record:
        table = {
            **{"name": "line", "devices": list(devices), "allow_poor_teacher": True},
            "model": {"onnx": "m.onnx", "input": {"mean": 127.5, "std": 127.5}},
            "data": {"path": "noise.npz", "validation": 0.3, "test": 0.2, "calibration": 8},
            "budget": {"max_drop": 50.0},
            "measure": {"rounds": 3, "blocks": 2, "block_s": 0.001},
        }
        recipe = parse_recipe(table, origin="test")
        compress(recipe, root=tmp_path, out=tmp_path / "run")
        return read_record(tmp_path / "run")

    return work


def test_further_devices_are_measured_and_the_first_decides(run: Run) -> None:
    record = run("local", {"name": "local", "runtime": "openvino"})
    assert record.devices == ("local", "local, openvino")
    assert record.final.conditions.runtime.startswith("onnxruntime ")
    (other,) = record.final.elsewhere
    assert (other.device, other.best) == ("local, openvino", 0)
    assert other.conditions.runtime.startswith("openvino ")
    assert other.session != record.final.session
    assert other.files[0].sha256 == record.final.files[0].sha256
    assert other.files[0].latency_s is not None
    assert any(line.startswith("on local, openvino it takes") for line in outcome(record))
    assert "<h2>On local, openvino</h2>" in page(record)


def test_a_file_that_does_not_run_on_a_further_device_ends_no_job(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "refuses_engine.py"
    engine.write_text(REFUSES, encoding="utf8")
    known = Runtime(
        package="numpy", module="numpy", engine=str(engine), suffixes=(".onnx",), install=""
    )
    monkeypatch.setitem(RUNTIMES, "refuses", known)
    record = run("local", {"name": "local", "runtime": "refuses"})
    (other,) = record.final.elsewhere
    assert (other.best, other.session) == (None, None)
    assert other.files[0].latency_s is None
    assert other.files[0].refused.endswith("this runtime has no Flatten")
    assert record.ships.latency_s is not None
    assert "this runtime has no Flatten" in page(record)


@pytest.mark.parametrize(
    ("devices", "told"),
    [
        (["local", {"name": "local", "threads": 1}], "devices: duplicate device"),
        ([], "devices: give at least one, for instance 'local'"),
        (
            [3],
            r"devices\[0\]: give the name of a device, or a table with name",
        ),
        (["local", {"nam": "local"}], r"devices\[1\].nam is not a known key; did you mean 'name'"),
    ],
)
def test_devices_that_cannot_be_meant_are_refused(run: Run, devices: list[Any], told: str) -> None:
    with pytest.raises(RecipeError, match=told) as caught:
        run(*devices)
    assert "Tuple" not in str(caught.value)

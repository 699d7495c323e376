"""An ONNX file as others write it, by the command: what it takes and carries is the file's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.bundle import verify
from edgekd.cli.main import main
from edgekd.exporters.ort_session import predictor

BATCH = 4
METADATA = {"names": "{0: 'dark', 1: 'light'}", "stride": "32", "license": "MIT"}


def write_foreign(path: Path) -> None:
    """Write a classifier of two kinds of grey, float32 images [4, 8, 8, 3] of 0..1, by opset 13."""
    rng = np.random.default_rng(3)
    weights = {
        "w0": rng.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "w1": np.stack([np.full(8, -1.0), np.full(8, 1.0)], axis=1).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["images"], ["t"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["t", "w0"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "w1", "b1"], ["scores"]),
        ],
        "foreign",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [BATCH, 8, 8, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [BATCH, 2])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    graph.initializer.append(numpy_helper.from_array(np.zeros(2, np.float32), "b1"))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, METADATA)
    onnx.save(model, path)
    floats = np.full((2, 8, 8, 3), 0.5, np.float32)
    level = predictor(path)({"images": floats})["scores"][0, 1]
    shift = numpy_helper.from_array(np.array([level, -level], np.float32), "b1")
    model.graph.initializer[-1].CopyFrom(shift)  # half of the greys are of each class
    onnx.save(model, path)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with that file and grey pictures, whose labels are its answers."""
    folder = tmp_path_factory.mktemp("foreign")
    write_foreign(folder / "net.onnx")
    rng = np.random.default_rng(4)
    light = rng.permutation(np.r_[np.linspace(10, 110, 51), np.linspace(145, 245, 50)])
    grey = (light[:, None, None, None] + rng.normal(0, 4, (101, 8, 8, 1))).clip(0, 255)
    grey = grey.astype(np.uint8)
    floats = np.repeat(grey, 3, axis=3).astype(np.float32) / 255
    label = predictor(folder / "net.onnx")({"images": floats})["scores"].argmax(axis=1)
    np.savez(folder / "grey.npz", x=grey, y=label)
    np.savez(folder / "floats.npz", x=floats, y=label)
    return folder


def run_quantize(folder: Path, monkeypatch: pytest.MonkeyPatch, data: str, out: str) -> None:
    monkeypatch.chdir(folder)
    words = ["net.onnx", "--data", data, "--max-drop", "50", "--samples", "30", "--out", out]
    changes = ["measure.rounds=3", "measure.blocks=2", "measure.block_s=0.005"]
    changes += ["steps.0.gate=false", "data.validation=0.3"]
    words += [word for change in changes for word in ("--set", change)]
    monkeypatch.setattr("sys.argv", ["edgekd", "quantize", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code


def test_calls_of_a_fixed_batch_are_filled_and_told_per_sample(
    foreign: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_quantize(foreign, monkeypatch, "floats.npz", "run")
    said = capsys.readouterr()
    assert "'x' is given to the input 'images'" in said.err
    assert "4 samples a call" in said.out
    content: dict[str, Any] = json.loads((foreign / "run" / "report.json").read_text("utf8"))
    teacher = content["rungs"][0]["evidence"]["files"][0]
    assert teacher["metrics"]["top-1"]["value"] == 100
    with np.load(next((foreign / "run" / "feeds").glob("*.npz"))) as feeds:
        assert feeds["images"].shape[1:] == (BATCH, 8, 8, 3)
    bundle = foreign / "run" / "bundle"
    assert verify(bundle).ok
    with np.load(bundle / "golden" / "inputs.npz") as golden:
        assert golden["0/images"].shape == (BATCH, 8, 8, 3)
    card = (bundle / "MODEL_CARD.md").read_text("utf8")
    assert "batch 4" in card
    assert "`license`, `names`, `stride`" in card
    assert "`model.fp32.onnx`: operator set 13, IR version 7; ONNX Runtime 1.6" in card
    assert content["teacher_licence"] == "MIT"
    int8 = next((foreign / "run" / "stages").glob("quantize-*/model.int8.onnx"))
    for path in (bundle / "model.fp32.onnx", int8):
        model = onnx.load(path)
        assert {entry.key: entry.value for entry in model.metadata_props} == METADATA
        assert model.ir_version == 7

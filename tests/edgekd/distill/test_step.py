"""Who can teach: a network, a bare ONNX file, and nobody where no term has a weight."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
import torch

from edgekd.errors import ModelError, RecipeError
from edgekd.pipeline.compress import compress
from edgekd.recipe.recipe import load_recipe

RECIPE = """
name = "from-a-file"
[data]
path = "bars.npz"
validation = 0.3
test = 0.2
calibration = 64
[model]
onnx = "teacher.onnx"
[budget]
max_drop = 100.0
[measure]
rounds = 3
blocks = 2
block_s = 0.005
[[steps]]
name = "distill"
gate = false
hard_weight = 0.0
train = { epochs = 2, batch_size = 32, learning_rate = 0.05 }
student = { build = "nets.py:student", input = { size = 16 } }
[[steps.terms]]
kind = "soft-targets"
[[steps.terms]]
kind = "hidden"
layers = { "5" = "INNER" }
schedule = { kind = "linear", from = 1.0, to = 0.0 }
"""
PRUNE = '[[steps]]\nname = "prune"\nratio = 0.5\n'


@pytest.fixture
def place(job: Path, finished: Path, tmp_path: Path) -> Path:
    """A folder with a bare teacher, a recipe that distils it, and what they need."""
    for name in ("bars.npz", "nets.py"):
        shutil.copy(job / name, tmp_path)
    teacher = next((finished / "stages").glob("teacher-*"))
    key = json.loads((teacher / "artifact.json").read_text())["files"]["model.pt"]
    for stage in (finished / "stages").glob("export-*"):
        if json.loads((stage / "artifact.json").read_text())["files"]["model.pt"] == key:
            shutil.copy(stage / "model.fp32.onnx", tmp_path / "teacher.onnx")
    nodes = onnx.load(tmp_path / "teacher.onnx").graph.node
    inner = [node.output[0] for node in nodes if node.op_type == "Relu"]
    (tmp_path / "r.toml").write_text(RECIPE.replace("INNER", inner[-1]))
    return tmp_path


@pytest.mark.timing
def test_a_bare_file_teaches_by_its_outputs_and_inner_values_without_labels(place: Path) -> None:
    result = compress(load_recipe(place / "r.toml"), root=place, out=place / "run")
    (stage,) = (place / "run" / "stages").glob("distill-*")
    state = torch.load(stage / "model.pt", weights_only=True)["state"]
    assert not [name for name in state if "extra" in name or "hidden" in name]
    graph = onnx.load(result.bundle / "model.fp32.onnx").graph
    assert len(graph.output) == 1  # a tap adds no output
    content = json.loads((place / "run" / "report.json").read_text(encoding="utf8"))
    files = [rung["evidence"]["files"][0] for rung in content["rungs"]]
    teacher, student = (file["metrics"]["top-1"] for file in files)
    assert teacher["value"] > 95
    assert student["value"] > 60  # three classes, learned from predictions alone


def test_what_needs_a_network_is_refused_after_a_bare_file(place: Path) -> None:
    text = (place / "r.toml").read_text()
    before, steps, distill = text.partition("[[steps]]\nname")
    (place / "r.toml").write_text(before + PRUNE + steps + distill)
    with pytest.raises(RecipeError, match=r"steps\[0\] \(prune\) starts from a network"):
        load_recipe(place / "r.toml")
    cut = text.replace('build = "nets.py:student", input = { size = 16 }', 'from = "teacher"')
    (place / "r.toml").write_text(cut)
    with pytest.raises(RecipeError, match=r"steps\[0\] \(distill\) starts from a network"):
        load_recipe(place / "r.toml")
    (place / "r.toml").write_text(text + PRUNE)  # it has the student to start from
    assert len(load_recipe(place / "r.toml").steps) == 2


def test_a_layer_that_the_student_does_not_have_is_refused_before_work(place: Path) -> None:
    recipe = load_recipe(place / "r.toml", changes=['steps.0.terms.1.layers={"55" = "x"}'])
    with pytest.raises(ModelError, match=r"Sequential has no layer '55'; similar are: 5"):
        compress(recipe, root=place, out=place / "run")
    assert not (place / "run" / "stages").exists()

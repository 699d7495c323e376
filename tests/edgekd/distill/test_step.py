"""Who can teach: a network, a bare ONNX file, and nobody where no term has a weight."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
import torch

from edgekd.artifact import Artifact
from edgekd.errors import ModelError, NothingToDo, RecipeError
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.compress import compress, run_steps
from edgekd.pipeline.setup import set_up
from edgekd.pipeline.stage import run_step
from edgekd.progress import Silent
from edgekd.recipe.recipe import Recipe, load_recipe

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


def opened(recipe: Recipe, place: Path) -> Bench:
    """What a run of the recipe has at hand; its folder is there."""
    bench = set_up(recipe, root=place, folder=place / "run", progress=Silent(), export=False)
    bench.stages.mkdir(parents=True)
    return bench


def test_a_bare_file_teaches_by_its_outputs_and_inner_values_without_labels(place: Path) -> None:
    bench = opened(load_recipe(place / "r.toml"), place)
    teacher, student = run_steps(bench)
    (stage,) = bench.stages.glob("distill-*")
    state = torch.load(stage / "model.pt", weights_only=True)["state"]
    assert not [name for name in state if "extra" in name or "hidden" in name]
    graph = onnx.load(student.artifact.onnx("fp32")).graph
    assert len(graph.output) == 1  # a tap adds no output
    assert teacher.evidence is not None
    assert student.evidence is not None
    top1 = [e.own[0].metrics["top-1"].value for e in (teacher.evidence, student.evidence)]
    assert top1[0] > 95
    assert top1[1] > 60  # three classes, learned from predictions alone


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


def test_several_teachers_have_no_common_layers_and_their_files_are_content(place: Path) -> None:
    more = 'steps.0.more_teachers=[{onnx="second.onnx", weight=0.5}]'
    with pytest.raises(RecipeError, match="several teachers have no common layer"):
        load_recipe(place / "r.toml", changes=[more])
    shutil.copy(place / "teacher.onnx", place / "second.onnx")
    alone = 'steps.0.terms=[{kind="soft-targets"}]'
    (step,) = load_recipe(place / "r.toml", changes=[alone, more]).steps
    before = step.content(place)
    model = onnx.load(place / "second.onnx")
    model.graph.initializer[0].name += "_"
    onnx.save(model, place / "second.onnx")
    assert step.content(place) != before


def test_a_second_file_teaches_beside_the_model(place: Path) -> None:
    shutil.copy(place / "teacher.onnx", place / "second.onnx")
    changes = [
        'steps.0.terms=[{kind="soft-targets"}]',
        'steps.0.more_teachers=[{onnx="second.onnx"}]',
        "steps.0.train.epochs=1",
    ]
    recipe = load_recipe(place / "r.toml", changes=changes)
    bench = opened(recipe, place)
    teacher = run_step(recipe.model, Artifact(place, {}), bench.context(None), bench.stages)
    both = run_step(recipe.steps[0], teacher, bench.context(teacher), bench.stages)
    lone = load_recipe(place / "r.toml", changes=changes[::2]).steps[0]
    alone = run_step(lone, teacher, bench.context(teacher), bench.stages)
    # The mean of two equal teachers is either of them, to the last bit: halves add up exactly.
    assert both.files["model.pt"] == alone.files["model.pt"]
    assert both.folder != alone.folder


def test_a_step_that_needs_a_network_is_skipped_where_none_was_kept(place: Path) -> None:
    text = (place / "r.toml").read_text() + PRUNE
    (place / "r.toml").write_text(text)
    recipe = load_recipe(place / "r.toml")
    bench = opened(recipe, place)
    teacher = run_step(recipe.model, Artifact(place, {}), bench.context(None), bench.stages)
    for _ in range(2):  # a resume replays it
        with pytest.raises(NothingToDo, match="there is only an ONNX file"):
            run_step(recipe.steps[1], teacher, bench.context(teacher), bench.stages)

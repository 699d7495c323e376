"""Without labels the model's own outputs are the reference, from the flags to the bundle."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import edgekd
from edgekd.cli.main import main
from edgekd.data.dataset import Dataset
from edgekd.errors import RecipeError
from edgekd.pipeline.one_file import copy_shipped
from edgekd.pipeline.setup import set_up
from edgekd.pipeline.without_labels import settle_budget, settle_recipe, wants_labels
from edgekd.progress import Silent
from edgekd.recipe.from_flags import make_recipe_table
from edgekd.recipe.recipe import Recipe, parse_recipe
from edgekd.tasks.reference import Reference, find_forms

FAST = ["measure.rounds=3", "measure.blocks=2", "measure.block_s=0.001"]
VALUES = {"map": np.zeros((2, 3, 4, 4), np.float32)}
CLASSES = {"logits": np.zeros((2, 3), np.float32)}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with two inputs, one of whole numbers, and three outputs; and its inputs."""
    folder = tmp_path_factory.mktemp("net")
    draw = np.random.default_rng(0).normal
    weights = {
        "a": draw(size=(64, 3, 3, 3)) / 5,
        "b": draw(size=(64, 64, 3, 3)) / 24,
        "c": draw(size=(64, 10)) / 3,
        "table": draw(size=(5, 64)),
    }
    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Conv", ["images", "a"], ["p"], pads=[1] * 4),
        node("Relu", ["p"], ["q"]),
        node("Conv", ["q", "b"], ["r"], pads=[1] * 4),
        node("Relu", ["r"], ["side"]),
        node("GlobalAveragePool", ["side"], ["s"]),
        node("Flatten", ["s"], ["t"]),
        node("Gather", ["table", "kind"], ["u"]),
        node("Add", ["t", "u"], ["v"]),
        node("MatMul", ["v", "c"], ["scores"]),
        node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [
            info("images", TensorProto.FLOAT, ["n", 3, 12, 12]),
            info("kind", TensorProto.INT64, ["n"]),
        ],
        [
            info("scores", TensorProto.FLOAT, ["n", 10]),
            info("side", TensorProto.FLOAT, ["n", 64, 12, 12]),
            info("best", TensorProto.INT64, ["n"]),
        ],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "net.onnx")
    kind = np.random.default_rng(1).integers(0, 5, 60)
    np.savez(folder / "inputs.npz", images=draw(size=(60, 3, 12, 12)), kind=kind)
    return folder


@pytest.fixture(scope="module")
def result(net: Path) -> edgekd.Result:
    """A whole run, with the gate off: what is measured here decides nothing."""
    table = make_recipe_table(model=str(net / "net.onnx"), data=str(net / "inputs.npz"))
    table["steps"][0]["gate"] = False
    return edgekd.compress(table, out=net / "run", changes=FAST, progress=False)


def test_every_output_is_compared_and_the_page_has_no_empty_columns(result: edgekd.Result) -> None:
    record = result.record
    assert record.recipe["task"] == "reference"
    assert record.budget.floors == {"min_snr": 20.0}
    (_, file) = (rung.files[0] for rung in record.rungs)
    assert file.metrics["SNR"].value > 20
    assert {"scores SNR", "side cosine", "best agreement"} <= set(file.metrics)
    assert "SNR" in record.rungs[1].verdict
    page = result.report.read_text(encoding="utf8").partition("<script")[0]
    assert "ince the teacher" not in page
    assert "There are no labels" in page
    assert "relative to the teacher" not in (result.bundle / "MODEL_CARD.md").read_text(
        encoding="utf8"
    )
    assert "relative to the teacher" not in repr(result)
    assert [row["difference"] for row in result.rows] == [None] * len(result.rows)


def test_the_bundle_keeps_its_promises(result: edgekd.Result) -> None:
    assert edgekd.verify(result.bundle).ok


@pytest.fixture(scope="module")
def elsewhere(result: edgekd.Result, net: Path) -> edgekd.Result:
    """The same run for a phone that is not here: what was measured is not measured again."""
    shutil.copytree(result.folder, net / "phone")
    table = make_recipe_table(
        model=str(net / "net.onnx"),
        data=str(net / "inputs.npz"),
        max_latency="1 s",
        ship="fp32, int8",
        keep_for="pixel-8",
    )
    return edgekd.compress(table, out=net / "phone", changes=FAST, progress=False)


def test_int8_for_a_device_that_is_not_here_is_in_the_bundle_and_says_so(
    elsewhere: edgekd.Result,
) -> None:
    record, bundle = elsewhere.record, elsewhere.bundle
    assert (record.ships.variant, [f.variant for f in record.beside]) == ("fp32", ["int8"])
    assert (bundle / "model.int8.onnx").is_file()
    assert edgekd.verify(bundle).ok
    card = (bundle / "MODEL_CARD.md").read_text(encoding="utf8")
    page = elsewhere.report.read_text(encoding="utf8").partition("<script")[0]
    for text in (card, page, repr(elsewhere)):
        assert "not measured on pixel-8" in text
    assert "`model.int8.onnx`: int8 weights and uint8 activations, by " in card
    assert "none is smaller" not in page
    assert "Also in the bundle: quantize (int8)" in page
    assert "Latency budget 1 s: met, it takes " in page
    assert "1 s: met, it takes " in repr(elsewhere)


def test_one_file_is_written_if_it_is_kept(result: edgekd.Result, net: Path) -> None:
    written = copy_shipped(result, net / "small.onnx")
    assert written.file == net / "small.onnx"
    assert written.where == f"wrote {written.file}"
    session = onnxruntime.InferenceSession(written.file, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["scores", "side", "best"]
    first = result.record.final
    teacher = replace(result.record, final=replace(first, chosen=0))
    nothing = copy_shipped(replace(result, record=teacher), net / "none.onnx")
    assert nothing.file is None
    assert "no file was written" in nothing.where
    assert nothing.report == net / "none.report.html"
    assert str(nothing.report) in nothing.where
    assert "edgekd report" in nothing.report.read_text(encoding="utf8")
    assert not (net / "none.onnx").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "random"], "made-up samples are refused"),
        (["--data", "inputs.npz", "--out", "net.onnx"], "--out net.onnx exists already"),
        (["--data", "inputs.npz", "--out", "gone/a.onnx"], "there is no folder gone"),
    ],
)
def test_a_wrong_call_is_refused(
    net: Path,
    flags: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(net)
    monkeypatch.setattr(sys, "argv", ["edgekd", "quantize", "net.onnx", *flags])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_images_of_many_sizes_are_brought_to_that_of_the_file(tmp_path: Path) -> None:
    for i in range(12):
        Image.new("RGB", (9 + i, 14 - i % 3), (20 * i, 0, 9)).save(tmp_path / f"{i}.png")
    weight = numpy_helper.from_array(np.ones((4, 3, 8, 8), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["pixels", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, 1, 1])],
        [weight],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    asked = recipe(
        data={"path": str(tmp_path)},
        model={"onnx": str(tmp_path / "m.onnx"), "input": {"mean": 0, "std": 255}},
    )
    bench = set_up(asked, root=tmp_path, folder=tmp_path / "run", progress=Silent(), export=False)
    assert bench.recipe.data.size == (8, 8)
    assert bench.dataset.samples["image"].shape == (12, 8, 8, 3)
    assert bench.recipe.task == "reference"
    assert [metric.name for metric in bench.task.metrics] == ["SNR", "worst sample", "cosine"]


def recipe(**changes: Any) -> Recipe:
    table = {"name": "a", "data": {"path": "d.npz"}, "model": {"onnx": "m.onnx"}}
    return parse_recipe({**table, **changes}, origin="here")


def dataset(*, labelled: bool) -> Dataset:
    targets = {"label": np.arange(4) % 2} if labelled else {}
    return Dataset("array", {"x": np.zeros((4, 2))}, targets)


def test_the_data_and_the_budget_choose_the_task() -> None:
    assert settle_recipe(recipe(), dataset(labelled=True)).task == "classification"
    assert settle_recipe(recipe(), dataset(labelled=False)).task == "reference"
    assert settle_recipe(recipe(task="a.py:b"), dataset(labelled=False)).task == "a.py:b"
    assert wants_labels(recipe())
    assert not wants_labels(recipe(task="reference"))
    assert not wants_labels(recipe(budget={"min_agreement": 99}))
    with pytest.raises(RecipeError, match=r"with budget.min_snr the model's own"):
        wants_labels(recipe(task="classification", budget={"min_snr": 20}))


def test_students_learn_from_the_teacher_alone() -> None:
    trained = {"build": "m:f", "weights": "w.pt"}
    distill = {"name": "distill", "student": {"from": "teacher"}}
    settled = settle_recipe(recipe(model=trained, steps=[distill]), dataset(labelled=False))
    assert settled.steps[0].model_dump()["hard_weight"] == 0.0
    asked = {**distill, "hard_weight": 0.5}
    with pytest.raises(RecipeError, match="the data has none; remove it"):
        settle_recipe(recipe(model=trained, steps=[asked]), dataset(labelled=False))
    with pytest.raises(RecipeError, match="needs labels, and the data has none; give its weights"):
        settle_recipe(recipe(model={"build": "m:f", "train": {}}), dataset(labelled=False))


@pytest.mark.parametrize(
    ("outputs", "budget", "floors"),
    [
        (VALUES, {}, {"min_snr": 20.0}),
        (VALUES, {"max_drop": 5}, {"min_snr": 20.0}),
        (CLASSES, {}, {"min_snr": 20.0}),
        (CLASSES, {"max_drop": 5}, {"min_agreement": 95.0}),
        (CLASSES, {"min_snr": 30, "min_agreement": 99}, {"min_snr": 30.0, "min_agreement": 99.0}),
        ({"best": np.zeros(2, np.int64)}, {}, {"min_agreement": 99.0}),
    ],
)
def test_a_floor_is_set(outputs: Any, budget: Any, floors: Any) -> None:
    task = Reference(find_forms(outputs, outputs, sizes=(2, 2)))
    assert settle_budget(recipe(budget=budget), task).budget.floors == floors


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (
            {"min_agreement": 99},
            "no output of the model has classes that vary between samples; give budget.min_snr",
        ),
    ],
)
def test_a_floor_that_no_output_can_have_is_refused(budget: Any, message: str) -> None:
    task = Reference(find_forms(VALUES, VALUES, sizes=(2, 2)))
    with pytest.raises(RecipeError, match=message):
        settle_budget(recipe(budget=budget), task)


@pytest.mark.parametrize(("task", "agreement"), [("regression", False), ("classification", True)])
def test_a_task_that_finds_no_labels_compares_what_it_is_about(
    tmp_path: Path, task: str, agreement: bool
) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", length])
        for name, length in (("x", 4), ("y", 2))
    ]
    draw = np.random.default_rng(1).normal
    weights = numpy_helper.from_array(draw(size=(4, 2)).astype(np.float32), "w")
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], [weights])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opsets), tmp_path / "net.onnx")
    np.savez(tmp_path / "data.npz", x=draw(size=(100, 4)).astype(np.float32))
    table = make_recipe_table(model="net.onnx", data="data.npz", task=task)
    spec = parse_recipe(table, origin="the flags")
    bench = set_up(spec, root=tmp_path, folder=tmp_path / "run", progress=Silent())
    assert isinstance(bench.task, Reference)
    assert ("agreement" in [metric.name for metric in bench.task.metrics]) == agreement
    assert bench.recipe.budget.min_snr == 20

"""A given model that is no better than a guess stops the job, with the likely cause."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgekd.cli.main import main
from edgekd.data.augment import Augment
from edgekd.data.batches import Data
from edgekd.data.dataset import Dataset, Kind
from edgekd.data.source import Source
from edgekd.data.targets import natural_order
from edgekd.evaluation.class_order import find_order
from edgekd.evaluation.reduced import Reduced
from edgekd.pipeline.baseline import describe_causes, note_seen, warn_of_chance
from edgekd.pipeline.setup import set_up
from edgekd.progress import Silent
from edgekd.recipe.recipe import parse_recipe
from edgekd.tasks.classification import Classification
from edgekd.tasks.embedding import Embedding
from edgekd.tasks.multilabel import Multilabel
from edgekd.tasks.regression import Regression
from edgekd.tasks.segmentation import Segmentation
from edgekd.tasks.task import Task
from edgekd.wording import speaking

Floats = NDArray[Any]
RNG = np.random.default_rng(0)
FOLDERS = [str(i + 1) for i in range(12)]


def test_text_order_is_found_where_folders_are_counted() -> None:
    label = RNG.integers(0, 12, 200)
    by_text = np.array([sorted(FOLDERS).index(name) for name in FOLDERS])
    said = find_order(label, by_text[label], FOLDERS)
    assert "in text order it is right in 100.0 %" in said
    assert '["1", "10", "11", "12", "2", ' in said
    assert find_order(by_text[label], label, sorted(FOLDERS)).startswith(
        "With its classes in number order"
    )


def test_any_other_order_and_a_shift_are_found_too() -> None:
    label, names = RNG.integers(0, 4, 100), ["d", "b", "a", "c"]
    turned = np.array([3, 0, 2, 1])
    said = find_order(label, turned[label], names)
    assert (
        'the order that its answers suggest it is right in 100.0 %: give data.labels = ["b",'
        in said
    )
    assert "raised by one" in find_order(label, label + 1, names)


def test_no_order_is_claimed_where_none_fits() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        label, answer = rng.integers(0, 12, (2, 120))
        assert find_order(label, answer, FOLDERS) == ""
    assert find_order(label, np.zeros(120, np.int64), FOLDERS) == ""


def test_names_with_numbers_in_them_are_compared_as_people_do() -> None:
    names = ["class10", "class2", "10", "9", "b", "a"]
    assert sorted(names, key=natural_order) == ["9", "10", "a", "b", "class2", "class10"]


@pytest.fixture
def swapped(tmp_path: Path) -> Path:
    """A file that gives the greater of three numbers, and data whose classes are in other order."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[n, 3] x) => (float[n, 3] y) '
        "<float[3, 3] w = {1, 0, 0, 0, 1, 0, 0, 0, 1}> { y = MatMul(x, w) }"
    )
    onnx.save(model, tmp_path / "net.onnx")
    x = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    names = np.array(["two", "one", "three"])[x.argmax(axis=1)]
    np.savez(tmp_path / "data.npz", x=x, y=names)
    np.savez(tmp_path / "chance.npz", x=x, y=np.arange(300) % 3)
    return tmp_path


def refusal(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    monkeypatch.setattr("sys.argv", ["edgekd", "quantize", "net.onnx", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    return re.sub(r"\s+", " ", capsys.readouterr().err)


def test_the_job_stops_before_anything_is_written(
    swapped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(swapped)
    words = ["--max-drop", "50", "--samples", "16", "--out", "run", "--data"]
    said = refusal([*words, "data.npz"], monkeypatch, capsys)
    assert 'give --set \'data.labels=["two", "one", "three"]\'' in said
    assert "--set allow_poor_teacher=true" in said
    assert not (swapped / "run").exists()


class Listener(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_without_training_a_cause_that_is_not_found_is_a_warning(swapped: Path) -> None:
    table = {
        "name": "chance",
        "data": {"path": "chance.npz", "validation": 0.3},
        "model": {"onnx": "net.onnx"},
        "budget": {"max_drop": 50.0},
    }
    listener = Listener()
    set_up(
        parse_recipe(table, origin="test"), root=swapped, folder=swapped / "r", progress=listener
    )
    assert any("Likely causes: the order of the classes" in text for text in listener.said)


def test_a_quick_look_says_what_the_run_itself_will_refuse(swapped: Path) -> None:
    table = {
        "name": "swapped",
        "quick": True,
        "data": {"path": "data.npz", "validation": 0.3},
        "model": {"onnx": "net.onnx"},
        "budget": {"max_drop": 50.0},
    }
    listener, recipe = Listener(), parse_recipe(table, origin="test")
    set_up(recipe, root=swapped, folder=swapped / "r", progress=listener)
    (said,) = (text for text in listener.said if text.startswith("warning: a full run will stop"))
    assert 'data.labels = ["two", "one", "three"]' in said


def test_a_given_model_may_have_seen_what_it_is_judged_by() -> None:
    table = {
        "name": "given",
        "data": {"path": "data.npz"},
        "model": {"build": "net.py:net", "weights": "net.pt"},
        "steps": [{"name": "distill", "student": {"from": "teacher"}, "train": {"epochs": 2}}],
    }
    recipe = parse_recipe(table, origin="test")
    trained = parse_recipe(
        {**table, "model": {"build": "net.py:net", "train": {"epochs": 2}}}, origin="test"
    )
    only_int8 = parse_recipe({**table, "steps": [{"name": "quantize"}]}, origin="test")
    data = Dataset("array", {"x": np.zeros((6, 4), np.float32)}, {"label": np.arange(6) % 2})
    parted = replace(data, fixed={"validation": np.arange(2)})
    assert "quality is then overestimated" in note_seen(recipe, data)
    assert not note_seen(recipe, parted)
    assert not note_seen(recipe, replace(data, targets={}))
    assert not note_seen(trained, data)
    assert not note_seen(only_int8, data)


def data_of(kind: Kind, folders: tuple[str, ...] = ()) -> Data:
    """Six samples of a kind."""
    samples: dict[Kind, dict[str, Floats]] = {
        "image": {"image": np.zeros((6, 4, 4, 3), np.uint8)},
        "array": {"x": np.zeros((6, 4), np.float32)},
        "text": {"text": np.array(["a", "b"] * 3)},
    }
    targets = {"label": np.arange(6) % 2}
    dataset = Dataset(kind, samples[kind], targets, folders=folders)
    return Data(dataset, {"train": np.arange(6)}, augment=Augment(), seed=0)


def test_the_causes_that_are_named_fit_the_data() -> None:
    table, arrays = Source(path="heat.csv"), Source(path="heat.npz")
    said = describe_causes(Regression(), data_of("array"), table)
    assert "data.label_column" in said
    assert "unit" in said
    assert "label_column" not in describe_causes(Regression(), data_of("array"), arrays)
    assert "normali" not in said
    assert "colour" not in said
    assert "normali" not in describe_causes(Classification(), data_of("array"), table)
    assert "tokenizer" in describe_causes(Classification(), data_of("text"), table)
    photos = describe_causes(Multilabel(), data_of("image"), Source(path="photos"))
    assert "model.input.colours" in photos
    assert "of the classes" not in photos


def test_folders_that_were_taken_as_classes_come_first_with_the_way_out() -> None:
    data = data_of("image", ("mon", "tue", "wed"))
    with speaking("flags", names=["no_labels"]):
        said = describe_causes(Classification(), data, Source(path="days"), outputs=12)
    assert said.startswith(
        "The 3 folders mon, tue, wed were taken as classes; the model has 12. If they are "
        "not classes, ignore the labels: --no-labels. Other likely causes: "
    )


@pytest.mark.parametrize(
    "task", [Classification(), Multilabel(), Regression(), Segmentation(), Embedding()]
)
def test_a_guess_is_told_from_knowledge_in_every_task(task: Task) -> None:
    for knows in (False, True):
        outputs, targets = make(task, knows=knows)
        reduced = task.reduce(outputs, targets, task.reference(outputs))
        seen = Reduced(reduced, np.arange(len(next(iter(reduced.values())))))
        said = warn_of_chance(task, seen, advice="")
        assert bool(said) == (not knows), said
        if said:
            assert "validation samples, and a guess gets" in said


def make(task: Task, *, knows: bool) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Outputs for 200 samples, and targets that follow them or do not."""
    rng = np.random.default_rng(2)
    if isinstance(task, Segmentation):
        logits = rng.normal(size=(40, 3, 8, 8))
        mask = (logits if knows else rng.normal(size=(40, 3, 8, 8))).argmax(axis=1)
        return {"logits": logits}, {"mask": mask.astype(np.uint8)}
    scores = rng.normal(size=(200, 3))
    truth = scores if knows else rng.normal(size=(200, 3))
    if isinstance(task, Multilabel):
        return {"logits": scores}, {"labels": (truth > 0).astype(np.uint8)}
    if isinstance(task, Regression):
        return {"values": scores}, {"value": truth}
    if isinstance(task, Embedding):
        return {"embedding": scores}, {"label": np.digitize(np.arctan2(*truth.T[:2]), [-2, 0, 2])}
    return {"logits": scores}, {"label": truth.argmax(axis=1)}

"""From a few words to a recipe: the table, the commented file, the commands around it."""

from __future__ import annotations

from typing import Any

import pytest

from edgekd.errors import RecipeError
from edgekd.recipe.from_flags import describe_steps, make_recipe_table
from edgekd.recipe.recipe import parse_recipe
from edgekd.teacher.step import OnnxTeacher, Teacher
from edgekd.wording import NAMES, speaking

ASKED: list[dict[str, Any]] = [
    {"model": "net.py:build", "data": "photos", "weights": "w.pt"},
    {"model": "net.py:build", "data": "data.py:load", "student": "net.py:small", "epochs": 3},
    {"model": "some.package:net", "data": "mnist5k", "max_latency": "8ms", "max_drop": 0.5},
    {"model": "a b/x.onnx", "data": 'odd "name".npz', "samples": 32, "name": "mine"},
    {"model": "x.onnx", "data": "t.csv", "labels": ["no", "yes"], "skip_broken": True},
]


def steps(**asked: Any) -> list[str]:
    return [step["name"] for step in make_recipe_table(**asked)["steps"]]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_every_table_is_a_recipe(asked: dict[str, Any]) -> None:
    recipe = parse_recipe(make_recipe_table(**asked), origin="quick")
    assert isinstance(recipe.model, OnnxTeacher if ".onnx" in asked["model"] else Teacher)


def test_what_is_asked_decides_the_steps() -> None:
    model = "net.py:build"
    assert steps(model=model, data="d") == ["distill", "quantize"]
    assert steps(model=model, data="d", student="n:s") == ["distill", "prune", "quantize"]
    assert steps(model="x.onnx", data="d") == ["quantize"]
    assert steps(model=model, data="d", student="n:s", no_prune=True) == ["distill", "quantize"]
    assert steps(model=model, data="d", no_distill=True) == ["prune", "quantize"]
    assert steps(model=model, data="d", only="quantize") == ["quantize"]
    assert steps(model=model, data="d", only="distill,prune", student="n:s") == ["distill", "prune"]
    # without a student, distillation cuts the model's own channels, which is pruning too
    assert steps(model=model, data="d", no_prune=True) == ["quantize"]
    assert steps(model=model, data="d", no_quantize=True) == ["distill"]
    assert steps(model=model, data="d", no_prune=True, no_quantize=True) == ["distill"]
    assert steps(model=model, data="d", no_distill=True, no_quantize=True) == ["prune"]
    assert "train" in make_recipe_table(model=model, data="d")["model"]
    assert "train" not in make_recipe_table(model=model, data="d", weights="w.pt")["model"]


def test_size_and_normalization_reach_every_network() -> None:
    asked: dict[str, Any] = {"model": "n:t", "student": "n:s", "size": "64x48", "normalize": "0..1"}
    table = make_recipe_table(data="photos", **asked)
    scale = {"mean": 0.0, "std": 255.0}
    assert table["data"]["size"] == [64, 48]  # a folder is decoded to it
    assert table["model"]["input"] == table["steps"][0]["student"]["input"] == scale
    table = make_recipe_table(data="photos.npz", **asked)
    assert "size" not in table["data"]
    assert table["model"]["input"] == {"size": [64, 48], **scale}
    parse_recipe(table, origin="flags")


def test_what_the_flags_add_is_said_with_the_way_to_leave_it_out() -> None:
    def said(**asked: Any) -> str:
        with speaking("flags", names=NAMES.values()):
            table = make_recipe_table(model="n:t", data="d", **asked)
            return describe_steps(table, only=asked.get("only"))

    assert "prune 30% of the channels" in said(student="n:s")
    assert "--no-prune" in said(student="n:s")
    assert "--no-distill" in said()
    assert "leave" not in said(only="quantize")


def test_what_flags_choose_otherwise_than_a_recipe_is_said() -> None:
    with speaking("flags", names=NAMES.values()):
        table = make_recipe_table(model="x.onnx", data="d")
        default = parse_recipe(
            {**table, "data": {"path": "d"}}, origin="a recipe without it"
        ).data.validation
        assert table["data"]["validation"] != default == 0.1
        said = describe_steps(table, only=None)
        assert "20% of the samples are for validation (a recipe's default is 10%" in said
        assert f"--set data.validation={default}" in said
        cifar10 = make_recipe_table(model="x.onnx", data="cifar10")
        assert "validation" not in describe_steps(cifar10, only=None)


def test_data_is_a_path_a_name_or_a_function() -> None:
    def place(data: str) -> set[str]:
        return set(make_recipe_table(model="x.onnx", data=data)["data"]) & {"path", "name", "call"}

    assert place("mnist5k") == {"name"}
    assert place("data.py:load") == place("package.data:load") == {"call"}
    for path in ("photos", "./cifar10", "a:b/photos", "x.npz", "C:/photos"):
        assert place(path) == {"path"}


def test_another_model_or_other_data_get_another_run_folder() -> None:
    names = [
        make_recipe_table(model=model, data=data)["name"]
        for model in ("net.py:a", "net.py:b", "../Other Nets/net2.py:a", "x.onnx")
        for data in ("photos", "mnist5k", "data.py:load")
    ]
    assert len(set(names)) == len(names)
    for name in names:
        parse_recipe({**make_recipe_table(model="x.onnx", data="d"), "name": name}, origin="name")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"model": "w.pt", "data": "d"}, "--weights w.pt"),
        ({"model": "net.py", "data": "d"}, "net.py is not a model"),
        ({"model": "x.onnx", "data": "d", "student": "n:s"}, "--student cannot be used"),
        ({"model": "n:t", "data": "d", "student": "s.py"}, "--student s.py is not a function"),
        ({"model": "x.onnx", "data": "d", "only": "prune"}, "--only prune cannot be used"),
        ({"model": "x.onnx", "data": "d", "no_quantize": True}, "--no-quantize cannot be used"),
        ({"model": "n:t", "data": "d", "student": "n:s", "no_distill": True}, "distill is left"),
    ],
)
def test_what_names_no_model_is_refused(asked: dict[str, Any], message: str) -> None:
    with (
        speaking("flags", names=NAMES.values()),
        pytest.raises(RecipeError, match=message),
    ):
        make_recipe_table(**asked)


def test_without_labels_the_run_has_a_folder_of_its_own() -> None:
    """It is other data than the same with labels, so a run of both cannot go on."""
    with_labels, without = (
        make_recipe_table(model="net.onnx", data="days", no_labels=flag)["name"]
        for flag in (None, True)
    )
    assert (with_labels, without) == ("net-days", "net-days-no-labels")
    named = make_recipe_table(model="net.onnx", data="days", no_labels=True, name="mine")
    assert named["name"] == "mine"

"""From a few words to a recipe: the table, the commented file, the commands around it."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgekd.cli.main import main
from edgekd.errors import RecipeError
from edgekd.recipe.from_flags import quick_table
from edgekd.recipe.recipe import Recipe, load_recipe, recipe_from, recipe_schema, shipped_recipes
from edgekd.recipe.toml_template import commented_recipe
from edgekd.teacher.step import OnnxTeacher, Teacher

ASKED: list[dict[str, Any]] = [
    {"model": "net.py:build", "data": "photos", "weights": "w.pt"},
    {"model": "net.py:build", "data": "data.py:load", "student": "net.py:small", "epochs": 3},
    {"model": "some.package:net", "data": "mnist5k", "max_latency": "8ms", "max_drop": 0.5},
    {"model": "a b/x.onnx", "data": 'odd "name".npz', "samples": 32, "name": "mine"},
    {"model": "x.onnx", "data": "t.csv", "labels": ["no", "yes"], "skip_broken": True},
]


def steps(**asked: Any) -> list[str]:
    return [step["name"] for step in quick_table(**asked)["steps"]]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_every_table_is_a_recipe(asked: dict[str, Any]) -> None:
    recipe = recipe_from(quick_table(**asked), origin="quick")
    assert isinstance(recipe.model, OnnxTeacher if ".onnx" in asked["model"] else Teacher)


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_commented_file_is_the_same_recipe(asked: dict[str, Any]) -> None:
    table = quick_table(**asked)
    text = commented_recipe(table)
    assert recipe_from(tomllib.loads(text), origin="file") == recipe_from(table, origin="quick")


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_every_comment_that_shows_an_option_is_right(asked: dict[str, Any]) -> None:
    """Each commented option, switched on alone, gives a recipe that is read."""
    lines = commented_recipe(quick_table(**asked)).splitlines()
    hidden = [i for i, line in enumerate(lines) if line.startswith("# ") and " = " in line]
    assert len(hidden) > 10
    for i in hidden:
        shown = [*lines[:i], lines[i].removeprefix("# "), *lines[i + 1 :]]
        recipe_from(tomllib.loads("\n".join(shown)), origin=lines[i])


def test_what_is_asked_decides_the_steps() -> None:
    model = "net.py:build"
    assert steps(model=model, data="d") == ["distill", "quantize"]
    assert steps(model=model, data="d", student="n:s") == ["distill", "prune", "quantize"]
    assert steps(model="x.onnx", data="d") == ["quantize"]
    assert "train" in quick_table(model=model, data="d")["model"]
    assert "train" not in quick_table(model=model, data="d", weights="w.pt")["model"]


def test_data_is_a_path_a_name_or_a_function() -> None:
    def place(data: str) -> set[str]:
        return set(quick_table(model="x.onnx", data=data)["data"]) & {"path", "name", "call"}

    assert place("mnist5k") == {"name"}
    assert place("data.py:load") == place("package.data:load") == {"call"}
    for path in ("photos", "./cifar10", "a:b/photos", "x.npz", "C:/photos"):
        assert place(path) == {"path"}


def test_another_model_or_other_data_get_another_run_folder() -> None:
    names = [
        quick_table(model=model, data=data)["name"]
        for model in ("net.py:a", "net.py:b", "../Other Nets/net2.py:a", "x.onnx")
        for data in ("photos", "mnist5k", "data.py:load")
    ]
    assert len(set(names)) == len(names)
    for name in names:
        recipe_from({**quick_table(model="x.onnx", data="d"), "name": name}, origin="name")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"model": "w.pt", "data": "d"}, "--weights w.pt"),
        ({"model": "net.py", "data": "d"}, "net.py names no model"),
        ({"model": "x.onnx", "data": "d", "student": "n:s"}, "--student cannot be used"),
        ({"model": "n:t", "data": "d", "student": "s.py"}, "--student s.py names no function"),
    ],
)
def test_what_names_no_model_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        quick_table(**asked)


Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Make a call in an empty folder; return what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*args: str) -> str:
        monkeypatch.setattr(sys, "argv", ["edgekd", *args])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code
        return capsys.readouterr().out

    return call


def test_init_writes_what_compress_would_do(run: Run) -> None:
    run("init", "--model", "net.py:f", "--data", "photos", "--max-latency", "8ms", "--epochs", "2")
    table = quick_table(model="net.py:f", data="photos", max_latency="8ms", epochs=2)
    assert load_recipe(Path("recipe.toml")) == recipe_from(table, origin="quick")


def test_paths_in_a_recipe_count_from_its_own_folder(run: Run) -> None:
    Path("recipes").mkdir()

    def written(*args: str) -> Recipe:
        run("init", *args, "--out", "recipes/r.toml", "--force")
        return load_recipe(Path("recipes/r.toml"))

    recipe = written("--model", "net.py:f", "--weights", "w.pt", "--data", "photos")
    assert isinstance(recipe.model, Teacher)
    assert (recipe.model.build, recipe.model.weights) == ("../net.py:f", "../w.pt")
    assert recipe.data.path == "../photos"
    recipe = written("--model", "m.onnx", "--data", "sub/data.py:load")
    assert isinstance(recipe.model, OnnxTeacher)
    assert (recipe.model.onnx, recipe.data.call) == ("../m.onnx", "../sub/data.py:load")
    recipe = written("--model", "pack.age:f", "--weights", "cache:w", "--data", "mnist5k")
    assert isinstance(recipe.model, Teacher)
    assert (recipe.model.build, recipe.model.weights) == ("pack.age:f", "cache:w")
    assert recipe.data.name == "mnist5k"
    assert written("--model", "a:f", "--data", "/photos").data.path == "/photos"


def test_init_overwrites_only_when_asked(run: Run) -> None:
    Path("recipe.toml").write_text("mine")
    run("init", "--model", "net.py:f", "--data", "photos", "--force")
    assert load_recipe(Path("recipe.toml")).name == "net-f-photos"


def test_the_shipped_schema_is_current(run: Run) -> None:
    """If not: edgekd schema --out edgekd/recipe/shipped/recipe.schema.json."""
    shipped = next(iter(shipped_recipes().values())).parent / "recipe.schema.json"
    assert run("schema") == shipped.read_text(encoding="utf8")
    run("schema", "--out", "s.json")
    assert Path("s.json").read_bytes() == shipped.read_bytes()


@pytest.mark.parametrize("path", sorted(shipped_recipes().values()), ids=lambda p: p.name)
def test_shipped_recipes_name_the_schema_and_keep_to_its_keys(path: Path) -> None:
    text = path.read_text(encoding="utf8")
    assert text.startswith("#:schema recipe.schema.json\n")
    schema = recipe_schema()
    assert set(tomllib.loads(text)) <= set(schema["properties"])
    assert json.loads(json.dumps(schema)) == schema

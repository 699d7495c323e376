"""`edgekd init` and `edgekd schema`: the files that they write."""

from __future__ import annotations

import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from edgekd.cli.compress import compress
from edgekd.cli.init import init
from edgekd.cli.main import main
from edgekd.recipe.from_flags import make_recipe_table
from edgekd.recipe.recipe import Recipe, build_schema, load_recipe, parse_recipe, shipped_recipes
from edgekd.teacher.step import OnnxTeacher, Teacher

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
    asked = ("--max-latency", "8ms", "--epochs", "2", "--ship", "int8", "--keep-for", "pixel-8")
    run("init", "--model", "net.py:f", "--data", "photos", *asked)
    table = make_recipe_table(
        model="net.py:f",
        data="photos",
        max_latency="8ms",
        epochs=2,
        ship="int8",
        keep_for="pixel-8",
    )
    assert load_recipe(Path("recipe.toml")) == parse_recipe(table, origin="quick")


def test_init_takes_the_flags_of_compress() -> None:
    flags = set(inspect.signature(compress).parameters)
    only_of_a_run = {"recipe", "quick", "dry_run", "as_json"}
    assert flags - only_of_a_run <= set(inspect.signature(init).parameters)


def test_what_becomes_of_photographs_stands_in_the_recipe(run: Run) -> None:
    for i, size in enumerate([(40, 30), (64, 64), (20, 50)]):
        Path(f"photos/{i % 2}").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(f"photos/{i % 2}/{i}.png")

    def written(*args: str) -> str:
        run("init", "--model", "n.py:f", "--weights", "w.pt", "--data", "photos", "--force", *args)
        return Path("recipe.toml").read_text(encoding="utf8")

    text = written()
    for line in ("size = 224 ", 'resize = "crop" ', 'mean = "auto", std = "auto"'):
        assert re.search(rf"(?m)^[^#]*{re.escape(line)}", text), text
    recipe = load_recipe(Path("recipe.toml"))
    assert isinstance(recipe.model, Teacher)
    assert recipe.model.input.mean is None
    text = written("--size", "96x64", "--normalize", "-1..1", "--resize", "pad")
    for line in ("size = [96, 64] ", 'resize = "pad" ', "mean = 127.5, std = 127.5"):
        assert re.search(rf"(?m)^[^#]*{re.escape(line)}", text), text
    for path in Path("photos").rglob("*.png"):
        Image.new("L", (32, 28)).save(path)
    assert "size = [28, 32] " in written()  # all of one size: it is theirs


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
    asked = ("--model", "a:f", "--data", "mnist5k", "--task")
    assert written(*asked, "own.py:task").task == "../own.py:task"
    assert written(*asked, "regression").task == "regression"


def test_init_overwrites_only_when_asked(run: Run) -> None:
    Path("recipe.toml").write_text("mine")
    run("init", "--model", "net.py:f", "--data", "photos", "--force")
    assert load_recipe(Path("recipe.toml")).name == "net-f-photos"


def test_the_shipped_schema_is_current(run: Run) -> None:
    """If not: `make format` writes it."""
    shipped = next(iter(shipped_recipes().values())).parent / "recipe.schema.json"
    assert run("schema") == shipped.read_text(encoding="utf8")
    run("schema", "--out", "s.json")
    assert Path("s.json").read_bytes() == shipped.read_bytes()


@pytest.mark.parametrize("path", sorted(shipped_recipes().values()), ids=lambda p: p.name)
def test_shipped_recipes_name_the_schema_and_keep_to_its_keys(path: Path) -> None:
    text = path.read_text(encoding="utf8")
    assert text.startswith("#:schema recipe.schema.json\n")
    schema = build_schema()
    assert set(tomllib.loads(text)) <= set(schema["properties"])
    assert json.loads(json.dumps(schema)) == schema

"""Recipe files: those that ship are valid, and what is not a recipe is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import RecipeError
from edgekd.recipe.recipe import load_recipe, parse_recipe, shipped_recipes


def test_recipes_ship() -> None:
    assert {"mnist", "cifar10"} <= set(shipped_recipes())


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_is_valid(name: str) -> None:
    recipe = load_recipe(Path(name))
    assert recipe.name == name
    assert recipe.permitted[0] == "fp32"


BASE = {
    "name": "x",
    "data": {"name": "mnist5k"},
    "model": {"onnx": "net.onnx"},
    "steps": [{"name": "quantize", "variants": ["int8", "int8-xnnpack"]}],
}


@pytest.mark.parametrize(
    ("ship", "read"),
    [
        ("smallest", "smallest"),
        ("int8", ("int8",)),
        ("int8-xnnpack, fp32", ("int8-xnnpack", "fp32")),
        (["int8"], ("int8",)),
    ],
)
def test_what_ships_is_a_rule_or_variants(ship: object, read: object) -> None:
    assert parse_recipe({**BASE, "export": {"ship": ship}}, origin="x").export.ship == read


@pytest.mark.parametrize(
    ("ship", "words"),
    [
        ("fp16", "names fp16, which no step makes; here it may name fp32 and int8 and int8-xnn"),
        ([], "names nothing"),
        ("", "names nothing"),
        ("quickest", "ship"),
        (7, "ship"),
    ],
)
def test_a_variant_that_no_step_makes_cannot_be_asked_for(ship: object, words: str) -> None:
    with pytest.raises(RecipeError, match="ship") as refused:
        parse_recipe({**BASE, "export": {"ship": ship}}, origin="x")
    assert words in str(refused.value)


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="does not exist"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_recipe(tmp_path / "bad.toml")

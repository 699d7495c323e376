"""Recipe files: those that ship are valid, and what is not a recipe is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import RecipeError
from edgekd.recipe.recipe import load_recipe, shipped_recipes


def test_recipes_ship() -> None:
    assert {"mnist", "cifar10"} <= set(shipped_recipes())


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_is_valid(name: str) -> None:
    recipe = load_recipe(Path(name))
    assert recipe.name == name
    assert recipe.permitted[0] == "fp32"


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="does not exist"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(RecipeError, match="not valid TOML"):
        load_recipe(tmp_path / "bad.toml")

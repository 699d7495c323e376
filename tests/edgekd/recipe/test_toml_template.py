"""The commented recipe: read back it is the same, and what it shows is right."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from edgekd.recipe.from_flags import quick_table
from edgekd.recipe.recipe import recipe_from
from edgekd.recipe.toml_template import commented_recipe

ASKED: list[dict[str, Any]] = [
    {"model": "net.py:build", "data": "photos", "weights": "w.pt"},
    {"model": "net.py:build", "data": "data.py:load", "student": "net.py:small", "epochs": 3},
    {"model": "some.package:net", "data": "mnist5k", "max_latency": "8ms", "max_drop": 0.5},
    {"model": "a b/x.onnx", "data": 'odd "name".npz', "samples": 32, "name": "mine"},
    {"model": "x.onnx", "data": "t.csv", "labels": ["no", "yes"], "skip_broken": True},
]


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

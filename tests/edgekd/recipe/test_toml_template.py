"""The commented recipe: read back it is the same, and what it shows is right."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from edgekd.recipe.from_flags import make_recipe_table
from edgekd.recipe.recipe import parse_recipe
from edgekd.recipe.toml_template import render_template

ASKED: list[dict[str, Any]] = [
    {"model": "net.py:build", "data": "photos", "weights": "w.pt"},
    {"model": "net.py:build", "data": "data.py:load", "student": "net.py:small", "epochs": 3},
    {"model": "some.package:net", "data": "mnist5k", "max_latency": "8ms", "max_drop": 0.5},
    {"model": "a b/x.onnx", "data": 'odd "name".npz', "samples": 32, "name": "mine"},
    {"model": "x.onnx", "data": "t.csv", "labels": ["no", "yes"], "skip_broken": True},
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_the_commented_file_is_the_same_recipe(asked: dict[str, Any]) -> None:
    table = make_recipe_table(**asked)
    text = render_template(table)
    assert parse_recipe(tomllib.loads(text), origin="file") == parse_recipe(table, origin="quick")


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_every_comment_that_shows_an_option_is_right(asked: dict[str, Any]) -> None:
    """Each commented option, switched on alone, gives a recipe that is read."""
    lines = render_template(make_recipe_table(**asked)).splitlines()
    hidden = [i for i, line in enumerate(lines) if line.startswith("# ") and " = " in line]
    assert len(hidden) > 10
    for i in hidden:
        shown = [*lines[:i], lines[i].removeprefix("# "), *lines[i + 1 :]]
        parse_recipe(tomllib.loads("\n".join(shown)), origin=lines[i])

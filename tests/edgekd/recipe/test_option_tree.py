"""What may stand where in a recipe, read from the options themselves."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import TypeAdapter

from edgekd.options import Options
from edgekd.recipe.option_tree import find_field, find_tag, list_functions, list_keys, walk_places
from edgekd.recipe.recipe import Recipe, parse_recipe

TABLES = {table for _, below in walk_places((Recipe,)) for table in below} | {Recipe}
OPTIONS = sorted((t.__name__, key, t) for t in TABLES for key in list_keys(t))


def test_every_table_has_its_place() -> None:
    places = [header for header, _ in walk_places((Recipe,))]
    assert {"[data]", "[data.augment]", "[model.train]", "[[steps]]", "[steps.student.input]"} <= {
        *places
    }
    assert len(TABLES) > 10


@pytest.mark.parametrize(("name", "key", "table"), OPTIONS, ids=lambda part: str(part))
def test_every_option_has_words_and_its_examples_are_valid(
    name: str, key: str, table: type[Options]
) -> None:
    """They are what `edgekd init` writes, and the schema that an editor shows."""
    field = find_field(table, key)
    assert field.description or key == find_tag(table)[0], f"{name}.{key}: say what it is"
    for example in field.examples or ():
        annotation: Any = field.annotation
        for part in field.metadata:
            annotation = Annotated[annotation, part]
        TypeAdapter(annotation).validate_python(example)


def test_functions_of_the_user_are_found_wherever_they_are_named() -> None:
    table = {
        "name": "r",
        "task": "task.py:task",
        "data": {"call": "data.py:load"},
        "model": {"build": "net.py:net", "weights": "w.pt"},
        "steps": [
            {"name": "distill", "student": {"build": "net.py:small"}},
            {"name": "prune"},
        ],
    }
    recipe = parse_recipe(table, origin="r.toml")
    assert list(list_functions(recipe)) == [
        "task.py:task",
        "data.py:load",
        "net.py:net",
        "net.py:small",
    ]

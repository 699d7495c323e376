"""A recipe is shown as it can be used again."""

from __future__ import annotations

import tomllib
from typing import Any

from edgekd.report.run.recipe_toml import toml


def test_a_recipe_is_shown_as_toml_that_reads_back(content: dict[str, Any]) -> None:
    recipe = {
        **content["recipe"],
        "odd key": 'a "quoted"\nline \\ and ü',
        "export": {"variants": [], "deep": {"a": {"b": [1, 2.5, True]}, "empty": {}}},
        "tiny": 1e-05,
    }
    assert tomllib.loads(toml(recipe)) == recipe

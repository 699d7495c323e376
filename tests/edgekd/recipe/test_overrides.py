"""Changes from the command line: what they reach and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.errors import RecipeError
from edgekd.recipe.recipe import load_recipe


def test_a_change_from_the_command_line_wins(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(
        'name = "r"\ndata.path = "d"\nmodel = { build = "n:t", weights = "w" }\n'
        '[[steps]]\nname = "prune"\n'
    )
    changes = [
        "effort=0.5",
        "steps.0.ratio=0.25",
        "data.path=elsewhere",
        "budget.max_latency='2 ms'",
    ]
    recipe = load_recipe(path, changes=changes)
    assert recipe.effort == 0.5
    assert recipe.data.path == "elsewhere"
    assert recipe.budget.max_latency_s == pytest.approx(2e-3)
    assert (
        recipe.working_steps[0].model_dump()["recover"]["epochs"] == 3
    )  # half of five, rounded up
    for wrong in ("effort", "steps.7.ratio=1", "name.x=1", "steps.ratio=1"):
        with pytest.raises(RecipeError, match="--set"):
            load_recipe(path, changes=[wrong])

"""The trial of what INT8 loses, on a run that is there already."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edgekd.benchmarks.trials.int8_drop import RECIPES, measure
from edgekd.quantization.step import Quantize
from edgekd.recipe.recipe import load_recipe


def test_the_network_of_a_finished_run_is_quantized_and_not_trained_again(
    finished: Path, job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    stages = {path: path.stat().st_mtime_ns for path in run.glob("stages/*")}
    monkeypatch.chdir(job)
    step = Quantize(variants=("int8", "int8-tensorrt"), samples=32)
    drops = measure(load_recipe(job / "bars.toml"), step, run)
    assert {path: path.stat().st_mtime_ns for path in run.glob("stages/*")} == stages
    assert [drop.variant for drop in drops] == list(step.variants)
    for drop in drops:
        assert drop.samples == 120
        assert drop.layers > 0
        assert drop.drop is not None, drop.reason
        assert drop.drop[1] <= drop.drop[0] <= drop.drop[2] < 20


def test_every_recipe_of_the_trial_exports_what_it_trains() -> None:
    recipes = [load_recipe(path) for path in sorted(RECIPES.glob("*.toml"))]
    assert recipes
    assert all(recipe.working_teacher.makes_network for recipe in recipes)

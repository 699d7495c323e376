"""A step uses, and its key covers, the parts of the data that it declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.artifact import Artifact
from edgekd.errors import DataError
from edgekd.pipeline.export import Export
from edgekd.pipeline.setup import set_up
from edgekd.progress import Silent
from edgekd.recipe.recipe import load_recipe
from edgekd.step import Context


def keys(job: Path, folder: Path, *changes: str) -> dict[str, str]:
    """Return the key of every stage of the recipe with `changes`, each from the same source."""
    recipe = load_recipe(job / "bars.toml", changes=changes)
    bench = set_up(recipe, root=job, folder=folder, progress=Silent(), export=False)
    source = Artifact(folder, {"model.fp32.onnx": "0" * 64})
    context = bench.context(source)
    return {
        step.name: step.key(source, context) for step in (recipe.model, *recipe.steps, Export())
    }


def test_another_augmentation_trains_again_and_calibrates_nothing_again(
    job: Path, tmp_path: Path
) -> None:
    before, after = keys(job, tmp_path), keys(job, tmp_path, "data.augment={shift=1}")
    assert {name for name in before if before[name] != after[name]} == {
        "teacher", "distill", "prune",
    }  # fmt: skip


def test_other_calibration_samples_train_nothing_again(job: Path, tmp_path: Path) -> None:
    before, after = keys(job, tmp_path), keys(job, tmp_path, "data.calibration=80")
    assert {name for name in before if before[name] != after[name]} == {"quantize", "export"}


def test_a_step_reads_no_part_of_the_data_that_it_did_not_declare(
    job: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(job / "bars.toml")
    bench = set_up(recipe, root=job, folder=tmp_path, progress=Silent(), export=False)
    whole: Context = bench.context(None)
    some = whole.only(frozenset({"calibration data", "seed"}))
    assert some.data.count("calibration") == 64
    with pytest.raises(DataError, match="no split 'train' here"):
        some.data.count("train")
    assert whole.only(frozenset({"seed"})).data is None

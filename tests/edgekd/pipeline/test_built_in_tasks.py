"""Each task that comes with edgekd goes from data through a student and INT8 to a bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekd.pipeline.compress import compress
from edgekd.recipe.from_flags import make_recipe_table
from edgekd.recipe.overrides import changed
from edgekd.recipe.recipe import parse_recipe

NETS = """
from torch import nn


def mlp(outputs):
    return nn.Sequential(
        nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs)
    )


def one():
    return mlp(1)


def three():
    return mlp(3)
"""
QUICK = (
    "measure.rounds=3", "measure.blocks=2", "measure.block_s=0.005", "model.train.epochs=15",
    "model.train.learning_rate=0.01", "data.licence=CC0-1.0",
)  # fmt: skip


def run(folder: Path, *, model: str, data: str, changes: tuple[str, ...]) -> dict[str, Any]:
    """Compress by flags; return the record."""
    (folder / "nets.py").write_text(NETS)
    table = make_recipe_table(model=f"nets.py:{model}", data=data, max_drop=10, epochs=6)
    recipe = parse_recipe(changed(table, (*QUICK, *changes)), origin="the flags")
    compress(recipe, root=folder, out=folder / "run")
    content: dict[str, Any] = json.loads((folder / "run" / "report.json").read_text("utf8"))
    return content


def numbers(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(size=(400, 6)).astype(np.float32)


@pytest.mark.timing
def test_regression_from_a_table_of_numbers(
    tmp_path: Path, lawful: Callable[[Mapping[str, Any]], None]
) -> None:
    x = numbers(0)
    y = 5 + 2 * x[:, 0] - x[:, 1] * (x[:, 2] > 0)
    lines = [";".join(f"{value:.4f}" for value in (*row, y[i])) for i, row in enumerate(x)]
    (tmp_path / "prices.CSV").write_text("\n".join(["a;b;c;d;e;f;price", *lines]))
    changes = ("task=regression", "data.label_column=price")
    content = run(tmp_path, model="one", data="prices.CSV", changes=changes)
    lawful(content)
    teacher = content["rungs"][0]["evidence"]["files"][0]
    assert {"R2", "mean absolute error", "root mean squared error"} <= set(teacher["metrics"])
    assert teacher["metrics"]["R2"]["value"] > 80
    assert teacher["metrics"]["R2"]["low"] < teacher["metrics"]["R2"]["value"]
    assert len(content["rungs"]) == 3
    assert (tmp_path / "run" / "bundle" / "golden" / "inputs.npz").exists()


@pytest.mark.timing
def test_multilabel_from_rows_of_zeros_and_ones(
    tmp_path: Path, lawful: Callable[[Mapping[str, Any]], None]
) -> None:
    x = numbers(1)
    np.savez(tmp_path / "tags.npz", x=x, y=(x[:, :3] > 0.5).astype(np.float32))
    changes = ("task=multilabel", 'data.labels=["sun", "sea", "sand"]')
    content = run(tmp_path, model="three", data="tags.npz", changes=changes)
    lawful(content)
    teacher = content["rungs"][0]["evidence"]["files"][0]
    assert {"mean average precision", "F1", "label accuracy"} <= set(teacher["metrics"])
    assert teacher["metrics"]["mean average precision"]["value"] > 85
    bundle = tmp_path / "run" / "bundle"
    assert json.loads((bundle / "labels.json").read_text()) == ["sun", "sea", "sand"]
    assert len(content["rungs"]) == 3

"""Defaults adapt to small data; what was asked for is enforced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.errors import DataError
from edgekd.pipeline.setup import set_up
from edgekd.progress import Silent
from edgekd.recipe.from_flags import make_recipe_table
from edgekd.recipe.overrides import changed
from edgekd.recipe.recipe import parse_recipe

NET = """
from torch import nn


def net():
    return nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
"""


class Heard(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A network and 102 samples, of which two are of the third class."""
    (tmp_path / "net.py").write_text(NET)
    rows = np.random.default_rng(0).normal(size=(102, 4)).astype(np.float32)
    label = np.arange(102) % 2
    label[-2:] = 2
    np.savez(tmp_path / "few.npz", x=rows, y=label)
    return tmp_path


def prepare(place: Path, *changes: str) -> str:
    """Check the job that the flags ask for; return what was said."""
    recipe = parse_recipe(
        changed(make_recipe_table(model="net.py:net", data="few.npz"), changes), origin="the flags"
    )
    heard = Heard()
    set_up(recipe, root=place, folder=place / "run", progress=heard, export=False)
    return "\n".join(heard.lines)


def test_few_samples_are_enough_and_what_they_cannot_show_is_said(place: Path) -> None:
    said = prepare(place)
    assert "the validation split has 20 samples; a budget of 1 points needs 542" in said
    assert "known to about 6.2 points" in said
    assert "the validation split has no sample of class '2' (2 in all)" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("budget.max_drop=1", "needs 542.*Give more validation data, or allow more"),
        ("budget.strict=true", "needs 542"),
        ("steps.1.samples=256", "needs 256 calibration samples, but .* has 72"),
        ("data.calibration=200", "the train split has 72"),
    ],
)
def test_what_was_asked_for_is_enforced(place: Path, change: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(place, change)

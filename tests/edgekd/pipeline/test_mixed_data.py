"""A recipe with further sources of training samples, through training, export and INT8."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekd.artifact import Artifact
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.export import Export
from edgekd.pipeline.setup import set_up
from edgekd.pipeline.stage import run_step
from edgekd.progress import Progress, Silent, Tick
from edgekd.recipe.recipe import load_recipe

RECIPE = """
name = "mixed"
[data]
path = "bars.npz"
validation = 0.3
test = 0.3
calibration = 16
[[data.mix]]
path = "more.npz"
weight = 0.5
[model]
build = "nets.py:student"
train = { epochs = 3, batch_size = 40, learning_rate = 0.02 }
[budget]
max_drop = 8.0
[[steps]]
name = "quantize"
samples = 16
"""


class Stop(Exception):
    """Stands for a kill."""


class StopsIn(Silent):
    """Ends the training in its third epoch."""

    @contextlib.contextmanager
    def track(self, title: str, total: float) -> Iterator[Tick]:
        def tick(advance: float = 1, note: str = "") -> None:
            if note.startswith("epoch 3/3"):
                raise Stop

        yield tick


@pytest.fixture(scope="module")
def folder(job: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the recipe and its files, and a cache of its own."""
    folder = tmp_path_factory.mktemp("mixed")
    for name in ("nets.py", "bars.npz"):
        shutil.copyfile(job / name, folder / name)
    with np.load(folder / "bars.npz") as bars:
        np.savez(folder / "more.npz", x=255 - bars["x"][:90], y=bars["y"][:90])
    (folder / "mixed.toml").write_text(RECIPE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEKD_CACHE", str(folder / "cache"))
        yield folder


def train(folder: Path, run: Path, *changes: str, progress: Progress | None = None) -> Artifact:
    """Return the trained teacher of the recipe with `changes`, from the run folder `run`."""
    bench = opened(folder, run, *changes, progress=progress)
    model = bench.recipe.model
    return run_step(model, Artifact(run, {}), bench.context(None), bench.stages)


def opened(folder: Path, run: Path, *changes: str, progress: Progress | None = None) -> Bench:
    recipe = load_recipe(folder / "mixed.toml", changes=changes)
    listener = progress or Silent()
    bench = set_up(recipe, root=folder, folder=run, progress=listener, export=False)
    bench.stages.mkdir(parents=True, exist_ok=True)
    return bench


def test_a_training_on_a_mixture_resumes_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    whole = train(folder, tmp_path / "whole")
    with pytest.raises(Stop):
        train(folder, tmp_path / "stopped", progress=StopsIn())
    assert list((tmp_path / "stopped").glob("stages/*.partial/work/last.pt"))
    again = train(folder, tmp_path / "stopped")
    assert again.files["model.pt"] == whole.files["model.pt"]


def test_int8_of_one_network_does_not_depend_on_further_sources(
    folder: Path, tmp_path: Path
) -> None:
    teacher = train(folder, tmp_path, "model.train.epochs=1")
    keys = []
    for change in ("data.mix=[]", "data.mix=[{path='more.npz', weight=3}]", "seed=0"):
        bench = opened(folder, tmp_path, change)
        context, (step,) = bench.context(teacher), bench.recipe.steps
        keys.append((Export().key(teacher, context), step.key(teacher, context)))
    assert len(set(keys)) == 1
    exported = run_step(Export(), teacher, context, bench.stages)
    context = bench.context(exported)  # quality is that against the exported teacher
    assert "model.int8.onnx" in run_step(step, exported, context, bench.stages).files

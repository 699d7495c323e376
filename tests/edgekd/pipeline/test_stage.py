"""A step is run once: what it built, and that it had nothing to do, is read back from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from edgekd.artifact import WORK, Artifact, open_artifact
from edgekd.data.preprocess import ArrayPreprocess
from edgekd.errors import NothingToDo
from edgekd.networks.spec import NetworkSpec
from edgekd.networks.trainable import Model, create_model
from edgekd.pipeline.stage import run_step
from edgekd.step import Context, Need, OnnxStep, Opened, TorchStep

NOTHING: Any = None
SPEC = NetworkSpec(build="edgekd.models:convnet", options={"widths": [8]})


class Search(TorchStep):
    """Makes a network by chance, which must not be made twice, and trains it."""

    needs: ClassVar[frozenset[Need]] = frozenset({"seed"})
    name: str = "search"
    log: ClassVar[list[str]] = []
    killed: ClassVar[bool] = False

    def build_model(self, source: Opened, teacher: Opened, context: Context) -> Model:
        self.log.append("build")
        model: Model = create_model(SPEC, ArrayPreprocess(names=("x",)), root=context.root)
        return model

    def train_model(self, model: Model, source: Artifact, context: Context, work: Path) -> None:
        self.log.append("train")
        if self.killed:
            raise KeyboardInterrupt
        with torch.no_grad():
            for parameter in model.body.parameters():
                parameter.add_(1)


class Idle(OnnxStep):
    """Can do nothing."""

    name: str = "idle"
    log: ClassVar[list[str]] = []

    def apply(self, source: Artifact, context: Context, folder: Path) -> None:
        self.log.append("apply")
        (folder / "half").write_text("written before it was known")
        raise NothingToDo("every width is 1")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(
        task=NOTHING,
        data=NOTHING,
        teachers=(),
        device=NOTHING,
        budget=NOTHING,
        seed=3,
        root=tmp_path,
        identity={"seed": "3"},
    )


def test_a_network_is_built_once_and_a_resumed_training_ends_with_the_same_bytes(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Artifact(tmp_path, {})
    whole = run_step(Search(), source, context, tmp_path / "whole")
    assert Search.log == ["build", "train"]
    monkeypatch.setattr(Search, "log", [])
    monkeypatch.setattr(Search, "killed", True)
    with pytest.raises(KeyboardInterrupt):
        run_step(Search(), source, context, tmp_path / "killed")
    (partial,) = (tmp_path / "killed").iterdir()
    assert sorted(p.name for p in (partial / WORK / "built").iterdir()) == [
        "model.pt",
        "preprocess.json",
    ]
    monkeypatch.setattr(Search, "killed", False)
    torch.manual_seed(99)  # whatever the new process drew before
    resumed = run_step(Search(), source, context, tmp_path / "killed")
    assert Search.log == ["build", "train", "train"]
    assert resumed.files == whole.files


def test_a_step_without_anything_to_do_is_stored_and_replayed(
    context: Context, tmp_path: Path
) -> None:
    source = Artifact(tmp_path, {})
    for _ in range(2):
        with pytest.raises(NothingToDo, match="every width is 1"):
            run_step(Idle(), source, context, tmp_path / "stages")
    assert Idle.log == ["apply"]
    (stage,) = (tmp_path / "stages").iterdir()
    assert sorted(open_artifact(stage).files) == ["skipped.json"]

"""A path that begins with `~` is in the home folder: in a recipe, a flag, a call from Python."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import edgekd
from edgekd.cli.main import main
from edgekd.data.source import Source, open_source
from edgekd.errors import DataError, RunFolderError
from edgekd.networks.spec import NetworkSpec, find_weights, list_user_files
from edgekd.recipe.recipe import load_recipe
from edgekd.store import locate
from edgekd.tasks import open_task
from edgekd.teacher.step import OnnxTeacher, Teacher
from edgekd.user_code import resolve, source_file


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder; the current one is another."""
    folder, here = tmp_path / "home", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    monkeypatch.chdir(here)
    return folder


def test_locate(home: Path) -> None:
    root = Path("/root")
    assert locate("~/a", root=root) == home / "a"
    assert locate("a/~", root=root) == root / "a/~"
    assert locate("/a", root=root) == Path("/a")
    assert locate("~nobody-of-this-name/a", root=root) == root / "~nobody-of-this-name/a"


def test_files_of_a_recipe(home: Path) -> None:
    (home / "w.pt").touch()
    (home / "net.py").write_text(
        "from edgekd.tasks.classification import Classification\n"
        "def task():\n"
        "    return Classification()\n"
    )
    np.savez(home / "d.npz", x=np.zeros((30, 4), np.float32), y=np.arange(30) % 3)
    root = Path.cwd()
    assert find_weights("~/w.pt", root) == home / "w.pt"
    assert source_file("~/net.py:task", root=root) == home / "net.py"
    assert callable(resolve("~/net.py:task", root=root))
    assert open_task("~/net.py:task", root=root).metrics[0].name == "top-1"
    assert OnnxTeacher(onnx="~/m.onnx").file(root) == home / "m.onnx"
    spec = NetworkSpec(build="~/net.py:task", weights="~/w.pt")
    before = list_user_files(spec, root)
    assert set(before) == {"build", "weights"}
    (home / "net.py").write_text("def task(): ...")
    assert list_user_files(spec, root) != before
    assert open_source(Source(path="~/d.npz"), root=root).labels
    with pytest.raises(DataError, match=str(home / "gone.npz")):
        open_source(Source(path="~/gone.npz"), root=root)


def test_flags_after_an_equals_sign_as_well(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands these; some expand the others, and then there is nothing left to do."""

    def call(*args: str) -> None:
        monkeypatch.setattr(sys, "argv", ["edgekd", *args])
        with pytest.raises(SystemExit) as left:
            main()
        assert not left.value.code

    call("schema", "--out=~/s.json")
    assert (home / "s.json").is_file()
    call("init", "--model=~/net.py:f", "--weights", "~/w.pt", "--data=~/photos", "--out=~/r.toml")
    recipe = load_recipe(home / "r.toml")
    assert isinstance(recipe.model, Teacher)
    assert locate(recipe.model.weights or "", root=home) == home / "w.pt"
    assert locate(recipe.data.path or "", root=home) == home / "photos"
    assert recipe.model.build == f"{home}/net.py:f"
    assert [path.name for path in Path.cwd().iterdir()] == []


def test_calls_from_python(home: Path, job: Path) -> None:
    shutil.copytree(job, home / "job")
    assert edgekd.load_recipe("~/job/bars.toml").name == "bars"
    few = ["budget.max_drop=0.1"]  # the data are found, and are too few to prove this
    with pytest.raises(DataError, match="the validation split has"):
        edgekd.compress("~/job/bars.toml", out="~/run", root="~/job", changes=few, progress=False)
    (home / "run").mkdir()
    (home / "run" / "run.json").write_text('{"name": "other"}')
    with pytest.raises(RunFolderError, match=str(home / "run")):
        edgekd.compress("~/job/bars.toml", out="~/run", progress=False)
    for call in (edgekd.verify, edgekd.benchmark):
        with pytest.raises(edgekd.BadInput, match=str(home / "gone")):
            call("~/gone.onnx")
    assert [path.name for path in Path.cwd().iterdir()] == []

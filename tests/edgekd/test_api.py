"""The public names, what importing them costs, and what a Result looks like."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import edgekd
from edgekd.errors import EdgekdError, RecipeError
from edgekd.pipeline.compress import Result
from edgekd.progress import Silent

HEAVY = {"numpy", "torch", "onnx", "onnxruntime", "pydantic", "matplotlib", "PIL", "scipy"}


def test_all_is_the_public_names() -> None:
    for name in edgekd.__all__:
        getattr(edgekd, name)  # those that come later are there when they are asked for
    tree = ast.parse(Path(inspect.getfile(edgekd)).read_text(encoding="utf8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    public = {
        name
        for name, value in vars(edgekd).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert edgekd.__all__ == sorted(imported | public), "put the name into __all__ or rename it"
    assert dir(edgekd) == edgekd.__all__


def test_no_module_takes_the_place_of_a_public_name() -> None:
    """An imported submodule becomes an attribute of the package."""
    for found in pkgutil.walk_packages(edgekd.__path__, "edgekd."):
        # Loaders are run in the folder of a bundle, whose files they read at once.
        if not found.name.endswith("__main__") and ".app_" not in found.name:
            importlib.import_module(found.name)
    modules = [n for n in edgekd.__all__ if isinstance(getattr(edgekd, n), ModuleType)]
    assert modules == []


def test_every_public_name_says_what_it_is() -> None:
    for name in edgekd.__all__:
        assert inspect.getdoc(getattr(edgekd, name)), name


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'compres'"):
        _ = edgekd.compres  # type: ignore[attr-defined]


def test_importing_is_light() -> None:
    code = f"import edgekd, sys; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_recipe_may_be(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file, a table or a loaded one: all reach the same check, which is where these end."""
    monkeypatch.chdir(job)
    wrong = "budget.max_drop=0.1"
    table = {**edgekd.load_recipe("bars.toml").model_dump(by_alias=True, exclude_none=True)}
    table["budget"] = {"max_drop": 0.1}
    loaded = edgekd.load_recipe("bars.toml", changes=[wrong])
    for recipe, changes in (("bars.toml", [wrong]), (Path("bars.toml"), [wrong]), (loaded, [])):
        with pytest.raises(edgekd.BadInput, match="the validation split has"):
            edgekd.compress(recipe, changes=changes, out="api", progress=Silent())
    with pytest.raises(edgekd.BadInput, match="the validation split has"):
        edgekd.compress(table, out="api", progress=False)
    with pytest.raises(RecipeError, match="model_copy"):
        edgekd.compress(loaded, changes=[wrong])
    assert not Path("api").exists()


def test_a_result_shows_its_ladder(finished: Path, job: Path, tmp_path: Path) -> None:
    out = shutil.copytree(finished, tmp_path / "run")
    result = edgekd.compress(job / "bars.toml", out=out, progress=False)
    assert isinstance(result, Result)
    text = repr(result)
    for word in ("teacher fp32", "distill fp32", "prune fp32", "quantize int8", "ships"):
        assert word in text
    assert str(result.bundle) in text
    html = result._repr_html_()
    assert html.count("<tr>") == 5
    kept = [rung.kept for rung in result.record.rungs]
    assert html.count("<s>") == 4 * kept.count(False)


def test_the_other_commands_from_python(finished: Path, tmp_path: Path) -> None:
    assert edgekd.verify(finished / "bundle").ok
    assert issubclass(edgekd.JobFailed, EdgekdError)
    with pytest.raises(edgekd.BadInput, match=r"gone\.onnx does not exist"):
        edgekd.quantize("gone.onnx", data="bars.npz", out=tmp_path / "run", progress=False)
    with pytest.raises(edgekd.BadInput, match=r"gone\.onnx"):
        edgekd.benchmark("gone.onnx", progress=False)

"""The rooms: arrows between modules run one way, the packages are the folders, files stay short."""

from __future__ import annotations

import ast
import re
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

STEPS = tuple(
    sorted(
        (path.parent.name for path in (ROOT / "edgekd").glob("*/step.py")),
        key=lambda name: (name != "teacher", name),
    )
)
"""Rooms with a step; others may import the teacher's."""
ROWS = (
    ("errors", "wording"),
    ("progress",),
    ("store",),
    ("arguments",),
    ("options",),
    ("user_code",),
    ("benchmarks",),
    ("devices",),
    ("tasks",),
    ("data",),
    ("models",),
    ("networks",),
    ("artifact",),
    ("exporters",),
    ("evaluation",),
    ("step",),
    ("training",),
    STEPS,
    ("recipe",),
    ("report",),
    ("bundle",),
    ("pipeline",),
    ("cli", "api", "trials"),
)
ORDER = {name: (i, j) for i, row in enumerate(ROWS) for j, name in enumerate(row)}


def modules() -> list[Path]:
    """Every source file, by its real place."""
    folders = [ROOT / name for name in ("edgekd", "benchmarks", "devices", "exporters")]
    found = [
        path
        for folder in folders
        for path in folder.rglob("*.py")
        if not any(parent.is_symlink() for parent in path.parents)
    ]
    return sorted(found)


def room(path: Path) -> str:
    """The name in ROWS that a file belongs to."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[:2] == ("benchmarks", "trials"):  # programs, which nothing imports
        return "trials"
    return parts[1] if parts[0] == "edgekd" else parts[0]


def module(path: Path) -> str:
    """The name that a file is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    inside = parts if parts[0] == "edgekd" else ("edgekd", *parts)
    return ".".join(inside[:-1] if inside[-1] == "__init__" else inside)


FILES = {module(path): path for path in modules()}


def imports(path: Path) -> set[str]:
    """The modules of edgekd that a file imports, lazy and type-only imports included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name if name in FILES else node.module for name in whole)
    return found & set(FILES)


def test_a_bundle_needs_no_report_and_a_report_only_renders() -> None:
    """Both take the record that the pipeline built: what they show is not computed there."""
    for name, path in FILES.items():
        rooms = {other.split(".")[1] for other in imports(path)}
        if name.startswith("edgekd.bundle"):
            assert "report" not in rooms, name
        if name.startswith("edgekd.report"):
            assert not rooms & {"devices", "tasks", "data", "models", "networks"}, name
            outside = set(re.findall(r"(?m)^\s*(?:from|import) (\w+)", path.read_text("utf8")))
            assert not outside & {"PIL", "onnx", "onnxruntime", "torch"}, name


def test_every_file_is_found() -> None:
    assert len(modules()) > 40


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_run_one_way(path: Path) -> None:
    mine = room(path)
    if mine in ("__init__", "__main__"):
        return
    assert mine in ORDER, f"{mine} has no place in ROWS"
    rooms = {name.split(".")[1] for name in imports(path) if "." in name}
    for other in rooms - {mine}:
        assert other in ORDER, f"{path} imports {other}, which has no place in ROWS"
        assert ORDER[other] < ORDER[mine], f"{mine} may not import {other}"


def test_modules_make_no_circle() -> None:
    try:
        TopologicalSorter({name: imports(path) for name, path in FILES.items()}).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_short(path: Path) -> None:
    # A board gets the runner as one file, so what it needs cannot stand in a second one.
    limit = 520 if path.name == "runner.py" else 400
    assert len(path.read_text(encoding="utf8").splitlines()) <= limit


def test_few_files_lie_outside_of_the_rooms() -> None:
    assert len(list((ROOT / "edgekd").glob("*.py"))) <= 12


def test_packages_are_the_folders() -> None:
    """A folder that is not in the list would be left out of the wheel without a word."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
    listed = set(config["tool"]["setuptools"]["packages"])
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in modules()
        if path.name == "__init__.py" and room(path) != "trials"  # they stay out of the wheel
    }
    real = {name if name.startswith("edgekd") else f"edgekd.{name}" for name in folders}
    assert listed == real


def test_links_show_the_three_folders() -> None:
    for name in ("benchmarks", "devices", "exporters"):
        link = ROOT / "edgekd" / name
        assert link.is_symlink()
        assert str(link.readlink()) == f"../{name}"

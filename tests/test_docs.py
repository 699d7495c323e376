"""What the documents say exists, and the tutorial's first steps run as they are printed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from edgekd.cli.main import app
from edgekd.errors import DataError
from edgekd.tasks import open_task
from edgekd.user_code import resolve

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def commands(text: str) -> list[list[str]]:
    """Every indented `edgekd ...` line, comments cut."""
    lines = re.findall(r"^ {4}(edgekd .*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def mentions(text: str) -> list[list[str]]:
    """Every `edgekd ...` in the text: a command that may lack what it needs."""
    return [shlex.split(" ".join(c.split())) for c in re.findall(r"`(edgekd [a-z][^`]*)`", text)]


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_documents() -> None:
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "your-own-model.md"} <= {
        page.name for page in PAGES
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf8")):
        if not target.startswith("http"):
            place = page.parent / target if target else page
            assert place.exists(), target
            assert not anchor or anchor in anchors(place), f"{target}#{anchor}"


def test_the_index_names_every_document() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf8")
    for path in (ROOT / "docs").iterdir():
        assert path.name == "README.md" or f"({path.name})" in index, path.name


def test_contributing_names_files_that_are_there() -> None:
    """A file by its name alone is one somewhere in the source; a path counts from the top."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    source = [ROOT / name for name in ("edgekd", "exporters", "benchmarks", "devices", "tests")]
    names = {path.name for folder in source for path in folder.rglob("*")}
    named = re.findall(r"`([a-z0-9_/]+\.py)`", text)
    assert len(named) > 20
    for name in named:
        places = (ROOT / name, ROOT / "edgekd" / name)
        assert name in names or any(place.exists() for place in places), name


def test_contributing_shows_every_room() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8").partition("## The data's way")[0]
    for folder in sorted((ROOT / "edgekd").iterdir()):
        if (folder / "__init__.py").exists() and not (folder / "step.py").exists():
            assert f"`{folder.name}/`" in table, folder.name


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_is_one(page: Path) -> None:
    group = get_command(app)
    known = getattr(group, "commands")  # noqa: B009
    text = page.read_text(encoding="utf8")
    for command in mentions(text):
        assert command[1] in known, command
        options = {o for p in known[command[1]].params for o in (*p.opts, *p.secondary_opts)}
        used = {word.partition("=")[0] for word in command[2:] if word.startswith("--")}
        assert used - {"--help"} <= options, command
    for command in commands(text):
        assert command[1] in known, command
        known[command[1]].make_context(" ".join(command), command[2:])  # parses, and runs nothing


def test_the_page_of_every_option_is_current() -> None:
    """If not: `make format` writes it."""
    printed = CliRunner().invoke(app, ["schema", "--markdown"])
    assert printed.stdout == (ROOT / "docs" / "recipe.md").read_text(encoding="utf8")


def test_the_glossary_is_in_order() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf8")
    words = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)[1:]
    assert len(words) > 30
    assert words == sorted(words, key=str.lower)


def test_the_readme_names_make_targets_that_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    targets = re.findall(r"`?make ([a-z0-9-]+)", (ROOT / "README.md").read_text(encoding="utf8"))
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        assert f"\n{target}:" in makefile, target


def write_files(page: str, folder: Path) -> str:
    """Write the files that a page prints below their names; return the text of the page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf8")
    named = re.findall(r"^`([a-z_]+\.py)`[^\n]*\n\n```python\n(.*?)```", text, re.DOTALL | re.M)
    assert named
    for name, code in named:
        (folder / name).write_text(code)
    return text


def run(command: list[str], *, at: Path) -> str:
    said = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=at,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_the_task_of_ones_own_judges_and_teaches(tmp_path: Path) -> None:
    """Its members work on the page's data: an answer that is right, one near, one far."""
    torch = pytest.importorskip("torch")
    write_files("own-task.md", tmp_path)
    task = open_task("task.py:Marker", root=tmp_path)
    inputs, targets = resolve("data.py:load", root=tmp_path)()
    targets = {name: array[:3] for name, array in targets.items()}
    task.check(targets)
    with pytest.raises(DataError, match="point"):
        task.check({"label": targets["point"]})
    answer = targets["point"] + np.array([[0, 0], [0.05, 0], [0, 0.5]], np.float32)
    predictions = task.predict(lambda _: {"point": answer}, inputs)
    reduced = task.reduce(predictions, targets, task.reference(predictions))
    found, distance = task.metrics
    assert found.of(reduced) == pytest.approx(100 * 2 / 3)
    assert distance.of(reduced) == pytest.approx((0.05 + 0.5) / 3, abs=1e-6)
    net = resolve("net.py:build", root=tmp_path)()
    images = torch.tensor(inputs["image"][:3]).permute(0, 3, 1, 2).float() / 255
    outputs = dict(zip(task.signals, [net(images)], strict=True))
    loss = task.loss(outputs, {name: torch.tensor(array) for name, array in targets.items()})
    assert loss.shape == (3,)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad.abs().sum() > 0 for parameter in net.parameters())


@pytest.mark.slow
def test_the_task_of_ones_own_runs_as_printed(tmp_path: Path) -> None:
    text = write_files("own-task.md", tmp_path)
    (command,) = [c for c in commands(text) if "--quick" in c]
    assert re.search(r"found, %", run(command, at=tmp_path))


def test_the_tutorial_starts_as_printed(tmp_path: Path) -> None:
    text = write_files("your-own-model.md", tmp_path)
    first = [c for c in commands(text) if c[1] == "init" or "--dry-run" in c]
    assert [c[1] for c in first] == ["init", "compress"]
    for command in first:
        run(command, at=tmp_path)
    assert (tmp_path / "recipe.toml").exists()
    assert not (tmp_path / "runs").exists()  # a dry run leaves nothing

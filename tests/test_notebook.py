"""The notebook of the documents runs, cell by cell, as a kernel would run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "docs").glob("*.ipynb"))
KERNEL = """
import ast, json, sys

space = {"__name__": "__main__"}
for number, source in enumerate(json.load(sys.stdin)):
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"<cell {number}>", "exec"), space)
    if last is not None:
        shown = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), space)
        html = getattr(shown, "_repr_html_", None)
        print("SHOWN", number, "html" if html and html() else "text", repr(shown)[:2000])
"""
"""No kernel is needed: a display is the last expression of a cell."""


def test_there_is_a_notebook() -> None:
    assert NOTEBOOKS


BEFORE = """
first, before = result, sorted(path.name for path in (result.folder / "stages").iterdir())
"""
AFTER = """
assert result.folder == first.folder
assert before == sorted(path.name for path in (result.folder / "stages").iterdir()), "no resume"
assert [row["stage"] for row in result.rows[:2]] == ["teacher", "distill"]
for row in result.rows:
    assert row["latency_s_low"] <= row["latency_s"] <= row["latency_s_high"] < 1
    assert 0 <= row["top-1"] <= 100
    assert row["size_bytes"] > 500
assert sum(row["ships"] for row in result.rows) == 1
assert "<svg" in result.plot().page
"""
"""Around the cell that compresses, once more: it resumes, and its numbers are as documented."""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_notebook_runs(path: Path, tmp_path: Path) -> None:
    book = json.loads(path.read_text(encoding="utf8"))
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    again = next(cell for cell in cells if "edgekd.compress(" in cell)
    done = subprocess.run(
        [sys.executable, "-c", KERNEL],
        input=json.dumps([*cells, BEFORE, again, AFTER]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    shown = [line for line in done.stdout.splitlines() if line.startswith("SHOWN")]
    assert len([line for line in shown if " html " in line]) == 4, done.stdout
    for words in ("quantize int8", "DataError the targets are numbers", "task='regression'"):
        assert words in done.stdout, done.stdout

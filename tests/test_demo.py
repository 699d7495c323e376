"""The demo: the shipped recipe on real digits through the real command, and what it promises."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgekd.exporters.onnx_files import traces

ROOT = Path(__file__).parent.parent


def edgekd(*arguments: str, limit_s: float) -> str:
    """Run the command line to its end; return what it printed."""
    said = subprocess.run(
        [sys.executable, "-m", "edgekd", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


def demo(out: Path, *changes: str, limit_s: float) -> dict[str, Any]:
    """Compress the digits, verify the bundle, look for traces; return the record."""
    printed = edgekd(
        "compress", "edgekd/recipe/shipped/mnist.toml", "--out", str(out), *changes, limit_s=limit_s
    )
    for word in ("teacher fp32", "distill fp32", "prune fp32", "quantize int8", "report.html"):
        assert word in printed
    edgekd("verify", str(out / "bundle"), limit_s=120)
    words = [getpass.getuser(), str(ROOT), str(out), os.uname().nodename]
    shipped = [
        p for p in (out / "bundle").rglob("*") if p.suffix in (".onnx", ".json", ".html", ".md")
    ]
    assert len(shipped) >= 6
    for path in shipped:
        found = traces(path, [w for w in words if len(w) > 4])
        # the programs of the bundle, which the card names
        own = {"load.py", "snippets/python.py"} if path.suffix == ".md" else set()
        assert set(found) <= own, path
    content: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf8"))
    return content


# A seventh of the digits, an epoch each: no quality to speak of. So the clock alone decides and
# more than the teacher is kept, tested and shipped. The demo itself is `test_the_demo_whole`.
SHORT = {
    "effort": 0.05,
    "data.validation": 0.43,
    "data.test": 0.43,
    "budget.max_drop": 100.0,
    "measure.rounds": 3,
    "measure.blocks": 3,
}


def test_the_demo_shortened(tmp_path: Path, lawful: Callable[[Mapping[str, Any]], None]) -> None:
    changes = [word for key, value in SHORT.items() for word in ("--set", f"{key}={value}")]
    content = demo(tmp_path / "run", *changes, limit_s=400)
    assert [r["title"] for r in content["rungs"]] == ["teacher", "distill", "prune", "quantize"]
    assert content["recipe"]["effort"] == 0.05
    trained = [r["history"][-2]["train"]["epochs"] for r in content["rungs"][:2]]
    assert trained == [1, 1]
    splits = content["data"]["splits"]
    assert [splits[name] for name in ("train", "validation", "test")] == [700, 2150, 2150]
    assert all(f["speedup"] for r in content["rungs"] for f in r["evidence"]["findings"])
    lawful(content)


@pytest.mark.slow
@pytest.mark.timing
def test_the_demo_whole(tmp_path: Path, lawful: Callable[[Mapping[str, Any]], None]) -> None:
    """At least 10 times smaller, 3 times faster and at most one point below the teacher.

    A busy machine may hide what a stage gains, and then it goes; nothing else may send it away.
    """
    content = demo(tmp_path / "run", limit_s=900)
    lawful(content)
    for rung in content["rungs"]:
        assert all(r.startswith("gain not shown") for r in rung["reasons"]), rung["verdict"]
    teacher, ships = (
        content["final"]["files"][0],
        content["final"]["files"][content["final"]["chosen"]],
    )
    tested = next(t for t in content["test"]["files"] if t["title"] == ships["title"])
    assert tested["gain"]["value"] >= -1.0
    if all(rung["outcome"] == "kept" for rung in content["rungs"]):
        assert ships["variant"] == "int8"
        assert teacher["size_bytes"] / ships["size_bytes"] >= 10
        assert ships["speedup"]["low"] >= 3

"""The demo: the shipped recipe on real digits through the real command, and what it promises."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekd.exporters.files import traces

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
        "compress", "edgekd/recipes/mnist.toml", "--out", str(out), *changes, limit_s=limit_s
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
        assert traces(path, [w for w in words if len(w) > 4]) == [], path
    content: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf8"))
    return content


@pytest.mark.timing
def test_the_demo_shortened(tmp_path: Path) -> None:
    content = demo(tmp_path / "run", "--set", "effort=0.1", limit_s=400)
    assert [r["title"] for r in content["rungs"]] == ["teacher", "distill", "prune", "quantize"]
    assert content["recipe"]["effort"] == 0.1
    assert content["data"]["splits"]["train"] == 3000
    assert all(r["evidence"]["findings"]["speedup"] for r in content["rungs"])


@pytest.mark.slow
@pytest.mark.timing
def test_the_demo_whole(tmp_path: Path) -> None:
    """At least 10 times smaller, 3 times faster and at most one point below the teacher."""
    content = demo(tmp_path / "run", limit_s=900)
    teacher, ships = (
        content["final"]["files"][0],
        content["final"]["files"][content["final"]["chosen"]],
    )
    assert all(r["kept"] for r in content["rungs"])
    assert ships["variant"] == "int8"
    assert teacher["size_bytes"] / ships["size_bytes"] >= 10
    assert ships["speedup"]["low"] >= 3
    tested = next(t for t in content["test"]["files"] if t["title"] == "quantize")
    assert tested["gain"]["value"] >= -1.0

"""The shipped recipes of text students, shortened, through the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekd.data.downloads import fetch
from edgekd.store import cache_folder

# A seventh of the texts, sixteen tokens of each and one epoch: no quality to speak of, so what it
# must not lose is not asked, and the clock alone decides.
SHORT = {
    "effort": 0.05,
    "data.validation": 0.85,
    "model.input.max_length": 16,
    "budget.max_drop": 100.0,
    "measure.rounds": 3,
    "measure.blocks": 3,
}


def edgekd(*arguments: str) -> str:
    said = subprocess.run(
        [sys.executable, "-m", "edgekd", *arguments],
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return said.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reuters-r8", "20newsgroups"])
def test_a_recipe_of_texts_goes_all_the_way(name: str, tmp_path: Path) -> None:
    for needed in (name, "minilm-l6"):
        if os.environ.get("CI"):
            fetch(needed)
        elif not (cache_folder() / "data" / needed).exists():
            pytest.skip(f"{needed} is not in the cache; run: edgekd data {needed}")
    changes = [word for key, value in SHORT.items() for word in ("--set", f"{key}={value}")]
    out = tmp_path / "run"
    edgekd("compress", name, "--out", str(out), *changes)
    content = json.loads((out / "report.json").read_text(encoding="utf8"))
    assert [rung["title"] for rung in content["rungs"]] == ["teacher", "distill", "quantize"]
    edgekd("verify", str(out / "bundle"))
    ask = [sys.executable, "load.py", "the price of oil rose again"]
    found = subprocess.run(ask, cwd=out / "bundle", capture_output=True, text=True, check=True)
    labels = json.loads((out / "bundle" / "labels.json").read_text())
    assert any(label in found.stdout for label in labels)

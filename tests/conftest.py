"""Shared by all tests."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

# A training's threads wait for each other a thousand times a second, and by default they spin. With
# other work on the same cores that is five times slower than to sleep; alone it costs next to
# nothing. Read when torch is imported, here and by the commands that tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

Content = Mapping[str, Any]


def follows_from_its_numbers(content: Content) -> None:
    """Hold every verdict of a run to what was measured, whichever stages pay on this machine.

    Which ones do is the clock's to say: INT8 is slower than FP32 on one processor and three times
    as fast on another. That a variant is kept exactly if its numbers allow it holds on all.
    """
    allowed = content["recipe"]["budget"]["max_drop"]
    teacher, *others = content["rungs"]
    assert teacher["outcome"] == "kept"
    for rung in others:
        for found, ruling in zip(rung["evidence"]["findings"], rung["rulings"], strict=True):
            lost = -found["gain"]["value"] > allowed
            if found["speedup"] is None:  # it is for another runtime
                assert ruling["not_measured_on"]
                assert ruling["kept"] == (not lost)
                continue
            low, high = found["speedup"]["low"], found["speedup"]["high"]
            slower = high < 1
            not_shown = not slower and (low <= 1 or not found["steady"])
            assert ruling["kept"] == (not (lost or slower or not_shown)), rung["verdict"]
            said = [reason.partition(":")[0] for reason in ruling["reasons"]]
            assert ("slower" in said) == slower
            assert ("gain not shown" in said) == not_shown
            assert len(said) == lost + slower + not_shown
        kept = any(ruling["kept"] for ruling in rung["rulings"])
        assert rung["outcome"] == ("kept" if kept else "rolled back"), rung["verdict"]
    final = content["final"]
    assert [(file["title"], file["variant"]) for file in final["files"]] == [
        (rung["title"], ruling["variant"])
        for rung in content["rungs"]
        for ruling in rung["rulings"]
        if ruling["kept"]
    ]
    assert 0 <= final["chosen"] < len(final["files"])


@pytest.fixture(scope="session")
def lawful() -> Callable[[Content], None]:
    return follows_from_its_numbers


@pytest.fixture
def fake_trtexec(tmp_path: Path) -> Callable[[str], Path]:
    """Return a program that stands in for the trtexec of 8.5, 10.3 or 11."""

    def make(version: str) -> Path:
        folder = Path(__file__).parent
        words = [sys.executable, str(folder / "fake_trtexec.py"), version]
        words.append(str(folder / "../../shared/samples/trtexec"))
        program = tmp_path / f"trtexec-{version}"
        program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        program.chmod(0o755)
        return program

    return make

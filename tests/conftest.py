"""Shared by all tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
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
            low, high = found["speedup"]["low"], found["speedup"]["high"]
            lost = -found["gain"]["value"] > allowed
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

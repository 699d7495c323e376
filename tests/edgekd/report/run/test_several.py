"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from edgekd.evaluation.record import from_json
from edgekd.report.run.several import cells, side_by_side


def test_each_run_has_a_row(make: Callable[..., dict[str, Any]]) -> None:
    timed, untimed = from_json(make()), from_json(make(timed=False))
    runs = [(Path("runs/[a]"), timed), (Path("runs/b"), untimed)]
    console = Console(width=200)
    with console.capture() as capture:
        console.print(side_by_side(runs))
    text = capture.get()
    for word in ("[a]", "b", timed.ships.title, "not measured", "session of its own"):
        assert word in text
    assert len({len(cells(*run)) for run in runs}) == 1

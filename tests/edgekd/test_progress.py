"""Progress: shares become the steps of a bar, and a part reports within its whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from edgekd.progress import Progress, Tick, part_of, track_share


class Recorded(Progress):
    """Keeps what a bar is told."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, float]] = []
        self.steps: list[float] = []

    @contextlib.contextmanager
    def track(self, title: str, total: float) -> Iterator[Tick]:
        self.opened.append((title, total))

        def tick(advance: float = 1, note: str = "") -> None:
            self.steps.append(advance)

        yield tick

    def say(self, text: str) -> None:
        pass


def test_shares_become_the_steps_of_a_bar() -> None:
    bar = Recorded()
    with track_share(bar, "measure") as share:
        for done in (0.25, 0.25, 1.0):
            share(done)
    assert bar.opened == [("measure", 1.0)]
    assert bar.steps == [0.25, 0.0, 0.75]


def test_a_part_reports_within_its_whole() -> None:
    shares: list[float] = []
    second = part_of(shares.append, 0.8, 0.1)
    second(0.0)
    second(1.0)
    assert shares == pytest.approx([0.8, 0.9])

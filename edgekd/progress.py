"""Progress reporting for long-running work: one narrow interface, silent by default."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

Share = Callable[[float], None]
"""Called with the share of the work that is done, 0 to 1."""


class Tick(Protocol):
    """Called as work advances."""

    def __call__(self, advance: float = 1, note: str = "") -> None:
        """Add `advance` to what is done; `note` is a short state, such as the loss."""


class Progress(Protocol):
    """A receiver of progress reports. It never changes a result."""

    def track(self, title: str, total: float) -> contextlib.AbstractContextManager[Tick]:
        """Open a bar of `total` units; the value is called as they are done."""

    def say(self, text: str) -> None:
        """Show one line that stays."""


class Silent:
    """The default: progress is not shown."""

    @contextlib.contextmanager
    def track(self, title: str, total: float) -> Iterator[Tick]:
        def tick(advance: float = 1, note: str = "") -> None:
            pass

        yield tick

    def say(self, text: str) -> None:
        pass


@contextlib.contextmanager
def track_share(progress: Progress, title: str) -> Iterator[Share]:
    """Open a bar for work that reports the share that is done, not steps."""
    done = 0.0
    with progress.track(title, 1.0) as tick:

        def advance(share: float) -> None:
            nonlocal done
            tick(share - done)
            done = share

        yield advance


def part_of(whole: Share, start: float, length: float) -> Share:
    """Return what a part of the work reports to, of which the whole knows where it lies."""
    return lambda share: whole(start + length * share)

"""How long work says that it goes on: one narrow interface, silent unless somebody listens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Tick(Protocol):
    """Called as work advances."""

    def __call__(self, advance: float = 1, note: str = "") -> None:
        """Add `advance` to what is done; `note` is a short state, such as the loss."""


class Progress(Protocol):
    """Where long work reports to. Never changes a result."""

    def track(self, title: str, total: float) -> contextlib.AbstractContextManager[Tick]:
        """Open a bar of `total` units; the value is called as they are done."""

    def say(self, text: str) -> None:
        """Show one line that stays."""


class Silent:
    """The default: nobody listens."""

    @contextlib.contextmanager
    def track(self, title: str, total: float) -> Iterator[Tick]:
        def tick(advance: float = 1, note: str = "") -> None:
            pass

        yield tick

    def say(self, text: str) -> None:
        pass

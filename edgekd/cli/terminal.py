"""Progress reporting: bars in a terminal, plain lines in a file or pipe."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edgekd.progress import Tick

PLAIN_EVERY_S = 15.0


def output() -> Console:
    """Return stdout for tables: a file or a pipe has no width to fold for."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _shown(spent_s: float, done: float, total: float) -> str:
    """Write the time that work took, and how long the rest takes at the same pace."""
    left_s = spent_s * (total - done) / done if done else 0.0
    return f"{spent_s:.0f} s" + (f", about {left_s:.0f} s left" if left_s >= 1 else "")


class Terminal:
    """Shows the progress of long-running work on stderr."""

    def __init__(self) -> None:
        """Look whether stderr is a terminal."""
        self.console = Console(stderr=True)

    def say(self, text: str) -> None:
        """Show one line that stays."""
        # a file or a pipe has no width to fold for
        wrap = not self.console.is_terminal
        self.console.print(text, markup=False, highlight=False, soft_wrap=wrap)

    @contextlib.contextmanager
    def track(self, title: str, total: float) -> Iterator[Tick]:
        """Show a bar, or a line every few seconds."""
        if self.console.is_terminal:
            with self._bar(title, total) as tick:
                yield tick
        else:
            yield self._plain(title, total)

    @contextlib.contextmanager
    def _bar(self, title: str, total: float) -> Iterator[Tick]:
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(title, total=total, note="")

            def tick(advance: float = 1, note: str = "") -> None:
                bars.update(task, advance=advance, note=note)

            start = time.monotonic()
            yield tick
        self.say(f"{title}: done in {time.monotonic() - start:.0f} s")

    def _plain(self, title: str, total: float) -> Tick:
        start = last = time.monotonic()
        done = 0.0
        self.say(f"{title} ...")

        def tick(advance: float = 1, note: str = "") -> None:
            nonlocal done, last
            done += advance
            now = time.monotonic()
            if now - last >= PLAIN_EVERY_S or done >= total:
                last = now
                self.say(
                    f"{title}: {100 * done / total:.0f} %, {_shown(now - start, done, total)}  "
                    f"{note}".rstrip()
                )

        return tick

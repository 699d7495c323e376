"""How long the parts of a run took: one line in the run folder for each, all resumes together."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

FILE = "time.jsonl"
LEAST_S = 0.05  # what is read back from disk takes less, and is no work

Work = Literal["prepare", "train", "export", "quantize", "measure", "evaluate"]
"""What the time went into; `measure` is timing on the device, `evaluate` are predictions."""


@dataclass(frozen=True)
class Spent:
    """Seconds that one part of a run took."""

    stage: str
    """The title of a stage, or of a part that belongs to none."""
    work: Work
    seconds: float


@dataclass
class TimeLog:
    """Appends what was spent to a file of the run folder."""

    folder: Path
    stage: str = "start"
    """What the time is spent on now."""
    inner_s: float = 0.0
    """What was logged inside of the part that is open."""

    @contextlib.contextmanager
    def spend(self, work: Work) -> Iterator[None]:
        """Log the time of a block, without that of blocks inside of it."""
        outer_s, self.inner_s = self.inner_s, 0.0
        start = time.monotonic()
        try:
            yield
        finally:
            whole_s = time.monotonic() - start
            own_s = whole_s - self.inner_s
            self.inner_s = outer_s + whole_s
            self.add(work, own_s)

    def add(self, work: Work, seconds: float) -> None:
        """Log what was timed elsewhere."""
        if seconds < LEAST_S or not self.folder.is_dir():
            return
        line = json.dumps(asdict(Spent(self.stage, work, round(seconds, 3))))
        with (self.folder / FILE).open("a", encoding="utf8") as file:
            file.write(line + "\n")

    def read(self) -> tuple[Spent, ...]:
        """Return the sum of every part so far, in the order in which parts were first logged."""
        return read_spent(self.folder)


def read_spent(folder: Path) -> tuple[Spent, ...]:
    """Return what was spent in a run folder; a line that was cut off by a crash is passed over."""
    path = folder / FILE
    sums: dict[tuple[str, Work], float] = {}
    for line in path.read_text(encoding="utf8").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, TypeError):
            spent = Spent(**json.loads(line))
            key = (spent.stage, spent.work)
            sums[key] = sums.get(key, 0.0) + spent.seconds
    return tuple(Spent(stage, work, seconds) for (stage, work), seconds in sums.items())

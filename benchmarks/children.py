"""Workers on this machine: each runs `runner.py` in a child process."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from edgekd.benchmarks import conductor
from edgekd.benchmarks.measurement import Candidate
from edgekd.benchmarks.schedule import Process
from edgekd.errors import MeasureError

RUNNER = conductor.RUNNER


def arguments_of(candidate: Candidate) -> list[str]:
    """Return the arguments of the runner that run a candidate in its setup."""
    return conductor.arguments_of(Process.of(candidate, sha256="").to_json())


class Child(conductor.Process):
    """A runner that raises MeasureError. Use it in `with`: it is started there, and killed."""

    failure = MeasureError

    def __enter__(self) -> Self:
        """Start it; raises MeasureError if it cannot be started."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process, whatever happened."""
        self.close()

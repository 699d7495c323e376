"""The protocol of a device: a few methods, files in, raw times or outputs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edgekd.benchmarks.measurement import Candidate, Conditions, Session, Setup, Timing
from edgekd.benchmarks.schedule import Schedule, plan_schedule
from edgekd.errors import CandidateError, MeasureError


class Device(Protocol):
    """A place where ONNX files run. It builds what it needs, and times on itself."""

    @property
    def name(self) -> str:
        """The name given to `open_device`."""

    def conditions(self, setup: Setup) -> Conditions:
        """Say who it is and how it would run a file."""

    def fingerprint(self, setup: Setup) -> str:
        """Return a hash of the hardware, the system, the runtime with its version, and the setup.

        It is the key of what is cached about a device: times of one machine are not another's.
        """

    def lacks(self, setup: Setup) -> str:
        """Return why no file can be run there in that setup, and what to do; "" if one can."""

    def prepare(self, candidate: Candidate) -> Path:
        """Build there what its runtime runs in place of its file, once; return what is run.

        It takes the whole candidate, since free axes get their lengths from the inputs. What is
        built is kept by file, shapes and fingerprint; the place is not a condition of a timing.

        Raises:
            ModelError: the file cannot be read.
            MeasureError: it could not be built.
        """

    def measure(
        self,
        candidates: Sequence[Candidate],
        timing: Timing,
        *,
        progress: Callable[[float], None] | None = None,
        decided: Callable[[Session], bool] | None = None,
    ) -> Session:
        """Time all candidates, interleaved, each on its own inputs.

        At each look of the timing `decided` is asked whether the session may end. A device that
        carries it out alone does not ask, and does every round.

        Raises:
            ModelError: a file cannot be read.
            MeasureError: a file could not be run or timed there.
        """

    def run_schedule(
        self,
        schedule: Schedule,
        *,
        progress: Callable[[float], None] | None = None,
        decided: Callable[[Session], bool] | None = None,
    ) -> Session:
        """Carry out a planned session; its files are where the schedule names them.

        Raises:
            MeasureError: a file could not be run or timed there.
        """

    def run(self, file: Path, feeds: Path) -> dict[str, NDArray[Any]]:
        """Run `file` once per call in `feeds`; return its outputs by name, calls first.

        Raises:
            ModelError: a file cannot be read.
            MeasureError: the file could not be run there.
        """


def plan_on(device: Device, candidates: Sequence[Candidate], timing: Timing) -> Schedule:
    """Return the schedule of a session on a device, with what it runs in place of the files built.

    Raises:
        ModelError: a file cannot be read.
        CandidateError: what a runtime runs could not be built of a file.
    """

    def prepared() -> Iterator[Path]:
        for index, candidate in enumerate(candidates):
            try:
                yield device.prepare(candidate)
            except MeasureError as error:
                raise CandidateError(str(error), index) from error

    return plan_schedule(candidates, timing, built=prepared())


@dataclass(frozen=True)
class Place:
    """A device, and how files are run there."""

    device: Device
    setup: Setup

    @property
    def title(self) -> str:
        """Its name, and what of the setup is not the default: "local, openvino, 2 threads"."""
        setup = self.setup
        words = [self.device.name]
        words += [setup.runtime] * (setup.runtime != Setup().runtime)
        words += [setup.provider] * bool(setup.provider)
        words += [f"{setup.threads} threads"] * (setup.threads > 1)
        return ", ".join(words)

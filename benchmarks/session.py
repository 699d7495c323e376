"""One interleaved session: the only thing from which two files may be compared.

Time on a shared machine drifts by more than what compression gains, and a process has luck of its
own (where its memory lies). So per round every candidate gets one fresh process with one live
session; all are started and warmed, then blocks of calls alternate between them in random order,
every process sleeping while another works. Rounds repeat that with new processes: they are the
samples that the statistics resample. One more process per round runs the first candidate again;
what the statistics find between these equal files (the A/A floor) they must not claim elsewhere.
"""

from __future__ import annotations

import contextlib
import random
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.benchmarks.children import Child
from edgekd.benchmarks.measurement import (
    Candidate,
    Conditions,
    Measurement,
    ProcessRun,
    Session,
    Timing,
)
from edgekd.benchmarks.statistics import is_steady, noise_floor
from edgekd.errors import ModelError
from edgekd.store import file_sha256

LEAST_ROUNDS = 3
LEAST_BLOCKS = 3


def measure_interleaved(
    candidates: Sequence[Candidate],
    timing: Timing,
    *,
    conditions: Conditions,
    python: str = sys.executable,
    progress: Callable[[float], None] | None = None,
) -> Session:
    """Time all candidates in one session on this machine.

    Args:
        candidates: at least one; the first is also the A/A twin.
        timing: how long.
        conditions: of this machine; threads and provider are handed to the processes.
        python: an interpreter with numpy and onnxruntime.
        progress: called with the share that is done, 0 to 1.

    Raises:
        ModelError: a file is missing.
        MeasureError: a process crashed, refused its file, or hung.
    """
    if not candidates:
        raise ValueError("nothing to time: candidates is empty")
    hashes = [_hash(candidate.file) for candidate in candidates]
    tell = progress or (lambda _: None)
    rounds: list[list[ProcessRun]] = []
    start = time.monotonic()
    for number in range(timing.rounds):
        late = time.monotonic() - start > timing.time_limit_s
        if late and number >= LEAST_ROUNDS:
            break
        tell(number / timing.rounds)
        rounds.append(_Round(number, timing, conditions, python).run([*candidates, candidates[0]]))
    tell(1.0)
    session = uuid.uuid4().hex
    enough = len(rounds) >= LEAST_ROUNDS
    *measurements, twin = [
        Measurement(session, sha256, conditions, runs, steady=enough and is_steady(runs))
        for sha256, runs in zip([*hashes, hashes[0]], zip(*rounds, strict=True), strict=True)
    ]
    return Session(tuple(measurements), noise_floor(measurements[0], twin), twin)


def _hash(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise ModelError(
            f"the model {file} cannot be read ({error.strerror}); give the path of an ONNX file"
        ) from error


@dataclass(frozen=True)
class _Round:
    number: int
    timing: Timing
    conditions: Conditions
    python: str

    def run(self, candidates: Sequence[Candidate]) -> list[ProcessRun]:
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(self._start(candidate)) for candidate in candidates]
            for child in children:
                child.answer()  # all have imported; from here on one works at a time
            order = list(range(len(children)))
            starts = {}
            for index in _shuffled(order):
                starts[index] = children[index].ask(load=True)
            blocks = self._blocks(children, order)
            peaks = [child.ask(quit=True)["peak_memory_bytes"] for child in children]
        return [
            ProcessRun(
                self.number, starts[i]["load_s"], starts[i]["first_s"], tuple(blocks[i]), peaks[i]
            )
            for i in order
        ]

    def _blocks(self, children: Sequence[Child], order: list[int]) -> list[list[tuple[float, ...]]]:
        """Warm every child, then sweep after sweep time one block of each, in random order."""
        limit = time.monotonic() + self.timing.time_limit_s / self.timing.rounds
        for index in _shuffled(order):
            children[index].ask(warm=self.timing.warmup_s)
        blocks: list[list[tuple[float, ...]]] = [[] for _ in children]
        for sweep in range(self.timing.blocks):
            if sweep >= LEAST_BLOCKS and time.monotonic() > limit:
                break  # slow models: fewer blocks per process rather than fewer processes
            for index in _shuffled(order):
                answer = children[index].ask(run=self.timing.block_s)
                blocks[index].append(tuple(answer["block_s"]))
        return blocks

    def _start(self, candidate: Candidate) -> Child:
        arguments = [
            str(candidate.file),
            str(candidate.feeds),
            "--threads",
            str(self.timing.threads),
            "--provider",
            self.conditions.provider,
        ]
        limit_s = max(60.0, 5 * self.timing.time_limit_s)
        return Child(arguments, python=self.python, name=candidate.file.name, limit_s=limit_s)


def _shuffled(order: Sequence[int]) -> list[int]:
    return random.sample(order, len(order))

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
from typing import Any

from edgekd.benchmarks.children import Child, arguments_of
from edgekd.benchmarks.measurement import (
    Candidate,
    Conditions,
    Measurement,
    ProcessRun,
    Sample,
    Session,
    Setup,
    Timing,
)
from edgekd.benchmarks.statistics.precision import narrow_enough
from edgekd.errors import CandidateError, MeasureError, ModelError
from edgekd.store import file_sha256

LEAST_ROUNDS = 3
LEAST_BLOCKS = 3
POOLED = 4  # with several threads blocks are so much longer and fewer: see `_Round._shape`
MOST_ROUNDS = 200  # with a precision asked for
IDLE_S = 0.5  # of rest before the start, where energy is counted: what idle costs is subtracted


def measure_interleaved(
    candidates: Sequence[Candidate],
    timing: Timing,
    *,
    conditions: Callable[[Setup], Conditions],
    python: str = sys.executable,
    progress: Callable[[float], None] | None = None,
) -> Session:
    """Time all candidates in one session on this machine.

    Args:
        candidates: at least one; the first is also the A/A twin.
        timing: how long.
        conditions: of this machine with a setup.
        python: an interpreter with numpy and the runtimes.
        progress: called with the share that is done, 0 to 1.

    Raises:
        ModelError: a file is missing.
        CandidateError: a candidate does not load, or cannot run once.
        MeasureError: a process crashed or hung later.
    """
    if not candidates:
        raise ValueError("nothing to time: candidates is empty")
    hashes = [_hash(candidate.file) for candidate in candidates]
    work = _Work(
        uuid.uuid4().hex,
        [*candidates, candidates[0]],
        [*hashes, hashes[0]],
        [conditions(candidate.setup) for candidate in (*candidates, candidates[0])],
        timing,
        python,
    )
    return work.run(progress or (lambda _: None))


def _hash(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise ModelError(
            f"the model {file} cannot be read ({error.strerror}); give the path of an ONNX file"
        ) from error


@dataclass(frozen=True)
class _Work:
    name: str
    candidates: Sequence[Candidate]
    hashes: Sequence[str]
    conditions: Sequence[Conditions]
    timing: Timing
    python: str

    def run(self, tell: Callable[[float], None]) -> Session:
        """Round after round, until there are enough or the time is up."""
        start = time.monotonic()
        rounds: list[list[ProcessRun]] = []
        idle = None
        tell(0.0)
        while True:
            round_ = _Round(len(rounds), self.candidates, self.timing, self.python)
            runs, rest = round_.run(rest=not rounds)
            rounds.append(runs)
            idle = idle or rest
            session = self._session(rounds, idle)
            spent_s = time.monotonic() - start
            if self._done(session, spent_s):
                tell(1.0)
                return session
            shares = [len(rounds) / self.timing.rounds, spent_s / self.timing.time_limit_s]
            asked = min(shares) if self.timing.precision else shares[0]
            tell(min(0.99, max(asked, 0.0)))

    def _done(self, session: Session, spent_s: float) -> bool:
        rounds = len(session.twin.runs)
        if rounds < LEAST_ROUNDS and rounds < self.timing.rounds:
            return False
        if spent_s > self.timing.time_limit_s or rounds >= MOST_ROUNDS:
            return True
        if rounds < self.timing.rounds:
            return False
        return self.timing.precision is None or narrow_enough(session, self.timing.precision)

    def _session(
        self, rounds: Sequence[list[ProcessRun]], idle: tuple[Sample, Sample] | None
    ) -> Session:
        facts = zip(self.hashes, self.conditions, zip(*rounds, strict=True), strict=True)
        *measurements, twin = [
            Measurement(self.name, sha256, conditions, runs) for sha256, conditions, runs in facts
        ]
        return Session(tuple(measurements), twin, self.timing, idle)


@dataclass(frozen=True)
class _Round:
    number: int
    candidates: Sequence[Candidate]
    timing: Timing
    python: str

    def run(self, *, rest: bool) -> tuple[list[ProcessRun], tuple[Sample, Sample] | None]:
        """Start one process per candidate, time them side by side, end them."""
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(self._start(c)) for c in self.candidates]
            for child in children:
                child.answer()  # all have imported; from here on one works at a time
            idle = _rest(children[0]) if rest else None
            starts = {i: self._load(i, children[i]) for i in _shuffled(len(children))}
            answers = self._blocks(children)
            parts = [
                child.ask(parts=self.timing.block_s)["parts_s"] if self.timing.parts else {}
                for child in children
            ]
            peaks = [child.ask(quit=True)["peak_memory_bytes"] for child in children]
        runs = [self._run(starts[i], answers[i], parts[i], peaks[i]) for i in range(len(children))]
        return runs, idle

    def _load(self, index: int, child: Child) -> dict[str, Any]:
        try:
            return child.ask(load=True)
        except MeasureError as error:
            twin = len(self.candidates) - 1
            raise CandidateError(str(error), 0 if index == twin else index) from error

    def _run(
        self,
        start: dict[str, Any],
        answers: Sequence[dict[str, Any]],
        parts: dict[str, list[float]],
        peak_memory_bytes: int,
    ) -> ProcessRun:
        before, *blocks = answers
        return ProcessRun(
            round=self.number,
            load_s=start["load_s"],
            first_s=start["first_s"],
            blocks_s=tuple(tuple(answer["block_s"]) for answer in blocks),
            peak_memory_bytes=peak_memory_bytes,
            harness_s=start["harness_s"],
            elapsed_s=tuple(answer["elapsed_s"] for answer in blocks),
            cpu_s=tuple(answer["cpu_s"] for answer in blocks if "cpu_s" in answer),
            samples=tuple(Sample(**answer["sample"]) for answer in (before, *blocks)),
            parts_s={name: tuple(seconds) for name, seconds in parts.items()},
        )

    def _blocks(self, children: Sequence[Child]) -> list[list[dict[str, Any]]]:
        """Warm every child, then sweep after sweep time one block of each, in random order.

        The first answer of each is the machine before its first block.
        """
        limit = time.monotonic() + self.timing.time_limit_s / self.timing.rounds
        blocks, block_s = self._shape()
        answers: list[list[dict[str, Any]]] = [[] for _ in children]
        for index in _shuffled(len(children)):
            children[index].ask(warm=self.timing.warmup_s)
            answers[index].append(children[index].ask(sample=True))
        rate = {} if self.timing.rate_hz is None else {"rate_hz": self.timing.rate_hz}
        for sweep in range(blocks):
            if sweep >= LEAST_BLOCKS and time.monotonic() > limit:
                break  # slow models: fewer blocks per process rather than fewer processes
            for index in _shuffled(len(children)):
                answers[index].append(children[index].ask(run=block_s, **rate))
        return answers

    def _shape(self) -> tuple[int, float]:
        """Return how many blocks of how many seconds.

        Pools of worker threads must fall asleep after every block (some 40 ms), so there they are
        fewer and longer. Otherwise short blocks are worth more: on a shared machine the scatter of
        a round's ratio fell to a quarter from 8 blocks of 20 ms to 64 of 3 ms.
        """
        pooled = any(candidate.setup.threads > 1 for candidate in self.candidates)
        if not pooled or self.timing.rate_hz or self.timing.blocks < 2 * POOLED:
            return self.timing.blocks, self.timing.block_s
        return self.timing.blocks // POOLED, self.timing.block_s * POOLED

    def _start(self, candidate: Candidate) -> Child:
        limit_s = max(60.0, 5 * self.timing.time_limit_s)
        return Child(
            arguments_of(candidate), python=self.python, name=candidate.file.name, limit_s=limit_s
        )


def _rest(child: Child) -> tuple[Sample, Sample] | None:
    """Sample the machine around a rest; None where there is no counter of energy."""
    before = Sample(**child.ask(sample=True)["sample"])
    if before.energy_j is None:
        return None
    time.sleep(IDLE_S)
    return before, Sample(**child.ask(sample=True)["sample"])


def _shuffled(count: int) -> list[int]:
    return random.sample(range(count), count)

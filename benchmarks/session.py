"""One interleaved session. Two files may be compared only within a session.

A schedule is carried out and its answers become a Session. One more process per round runs the
first candidate again; what the statistics find between these equal files (the A/A floor) they must
not claim elsewhere.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.benchmarks.conductor import LoadError, Worker, carry_out
from edgekd.benchmarks.measurement import Conditions, Measurement, ProcessRun, Sample, Session
from edgekd.benchmarks.schedule import Schedule
from edgekd.benchmarks.stats.precision import narrow_enough
from edgekd.errors import CandidateError, MeasureError


def conduct(
    schedule: Schedule,
    hire: Callable[[int], Worker],
    *,
    conditions: Sequence[Conditions],
    progress: Callable[[float], None] | None = None,
    decided: Callable[[Session], bool] | None = None,
) -> Session:
    """Carry a schedule out through workers on a device.

    Args:
        schedule: what to do.
        hire: returns a worker that is not started yet, for a process of the schedule.
        conditions: of the device with the setup of each process.
        progress: called with the share that is done, 0 to 1.
        decided: asked at each look of the timing, with the session so far: whether it may end.

    Raises:
        CandidateError: a candidate does not load, or cannot run once.
        MeasureError: a process crashed or hung later.
    """
    tell = progress or (lambda _: None)
    timing, start = schedule.timing, time.monotonic()
    rounds: list[Mapping[str, Any]] = []

    def is_precise() -> bool:
        session = assemble(schedule, rounds, conditions)
        return timing.precision is None or narrow_enough(session, timing.precision)

    def is_decided() -> bool:
        return decided is not None and decided(assemble(schedule, rounds, conditions))

    tell(0.0)
    try:
        for answers in carry_out(schedule.to_json(), hire, is_precise, is_decided):
            rounds.append(answers)
            limit = (time.monotonic() - start) / timing.time_limit_s
            share = len(rounds) / timing.rounds
            tell(min(0.99, share if timing.precision is None else min(share, limit)))
    except LoadError as error:
        raise _not_loaded(schedule, str(error.__cause__), error.index) from error.__cause__
    tell(1.0)
    return assemble(schedule, rounds, conditions)


def read_session(schedule: Schedule, answers: Path, conditions: Sequence[Conditions]) -> Session:
    """Return the session of a schedule that a device has carried out by itself.

    Args:
        schedule: what it was asked.
        answers: the file that it wrote.
        conditions: of the device with the setup of each process.

    Raises:
        CandidateError, MeasureError: as `conduct`; also when the device has not finished.
    """
    lines = answers.read_text(encoding="utf8").splitlines()
    *rounds, last = [json.loads(line) for line in lines] or [{}]
    if "index" in last:
        raise _not_loaded(schedule, last["error"], last["index"])
    if "error" in last:
        raise MeasureError(last["error"])
    if "done" not in last:
        raise MeasureError(f"{answers} ends after {len(lines)} rounds: the device has not finished")
    return assemble(schedule, rounds, conditions)


def assemble(
    schedule: Schedule, rounds: Sequence[Mapping[str, Any]], conditions: Sequence[Conditions]
) -> Session:
    """Return the session of what each round answered."""
    runs = [[ProcessRun.from_json(run) for run in answers["runs"]] for answers in rounds]
    facts = zip(schedule.processes, conditions, zip(*runs, strict=True), strict=True)
    *measurements, twin = [
        Measurement(schedule.session, process.sha256, found, mine) for process, found, mine in facts
    ]
    rest = rounds[0]["idle"]
    idle = None if rest is None else (Sample(**rest[0]), Sample(**rest[1]))
    return Session(tuple(measurements), twin, schedule.timing, idle, schedule.seed)


def _not_loaded(schedule: Schedule, message: str, index: int) -> CandidateError:
    twin = len(schedule.processes) - 1
    return CandidateError(message, 0 if index == twin else index)

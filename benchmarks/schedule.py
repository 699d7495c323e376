"""The plan of a session: which files and setups run, in which order, for how long.

A schedule is data. It is drawn from a seed on the host, goes to JSON and back without loss, and a
device carries it out as it is (`conductor.py`): through workers that the host asks, or alone.
"""

from __future__ import annotations

import json
import random
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from edgekd.benchmarks import conductor
from edgekd.benchmarks.feeds import model_files
from edgekd.benchmarks.measurement import Candidate, Setup, Timing
from edgekd.benchmarks.runtimes import RUNTIMES, engine_of
from edgekd.errors import ModelError
from edgekd.store import file_sha256, write_json

LEAST_POOLED = 10  # of them: fewer do not show whether a process kept its speed
POOLED = 4  # with several threads blocks are so much longer and fewer: see `_shape`
MOST_ROUNDS = 200  # with a precision to reach
SCHEDULE = "schedule.json"


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process of every round: a file in a setup, on its own inputs."""

    name: str  # what errors call the file
    file: Path
    sha256: str  # of the file that is measured, also where the device runs what it built from it
    feeds: Path
    pipeline: Path | None
    engine: Path | None  # see `edgekd.benchmarks.runtimes`
    setup: Setup

    @classmethod
    def of(cls, candidate: Candidate, *, sha256: str) -> Self:
        """Return the process that runs a candidate."""
        return cls(
            name=candidate.file.name,
            file=candidate.file,
            sha256=sha256,
            feeds=candidate.feeds,
            pipeline=candidate.pipeline,
            engine=engine_of(candidate.setup.runtime),
            setup=candidate.setup,
        )

    def to_json(self) -> dict[str, Any]:
        paths = {name: getattr(self, name) for name in _PATHS}
        texts = {name: None if path is None else str(path) for name, path in paths.items()}
        return {"name": self.name, "sha256": self.sha256, "setup": asdict(self.setup), **texts}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        paths = {name: None if value[name] is None else Path(value[name]) for name in _PATHS}
        options = tuple((key, text) for key, text in value["setup"]["options"])
        return cls(**{**value, **paths, "setup": Setup(**{**value["setup"], "options": options})})


_PATHS = ("file", "feeds", "pipeline", "engine")


@dataclass(frozen=True)
class Round:
    """In which order the processes of a round are asked; each order contains every process once."""

    load: tuple[int, ...]
    warm: tuple[int, ...]
    sweeps: tuple[tuple[int, ...], ...]
    """In each sweep every process times one block."""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        sweeps = tuple(tuple(sweep) for sweep in value["sweeps"])
        return cls(tuple(value["load"]), tuple(value["warm"]), sweeps)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One session. Measurements of equal `session` are paired."""

    session: str
    seed: int  # every order was drawn from it
    timing: Timing
    processes: tuple[Process, ...]
    """Those of the candidates, and last the A/A twin: the first candidate once more."""
    block_s: float  # seconds per block
    rounds: tuple[Round, ...]
    """More than `timing.rounds` if a precision must be reached."""

    def to_json(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "seed": self.seed,
            "timing": asdict(self.timing),
            "processes": [process.to_json() for process in self.processes],
            "block_s": self.block_s,
            "rounds": [asdict(round_) for round_ in self.rounds],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            session=value["session"],
            seed=value["seed"],
            timing=Timing(**value["timing"]),
            processes=tuple(Process.from_json(process) for process in value["processes"]),
            block_s=value["block_s"],
            rounds=tuple(Round.from_json(round_) for round_ in value["rounds"]),
        )


def plan_schedule(
    candidates: Sequence[Candidate],
    timing: Timing,
    *,
    seed: int | None = None,
    built: Iterable[Path] | None = None,
) -> Schedule:
    """Draw the schedule of one interleaved session.

    Args:
        candidates: at least one; the first is also the A/A twin.
        timing: how long.
        seed: equal seeds give equal orders; None: a new one is drawn, so that no order is favoured
            over many sessions.
        built: the files that are run in their place, where the device built them.

    Raises:
        ModelError: a file is missing.
    """
    if not candidates:
        raise ValueError("nothing to time: candidates is empty")
    drawn = random.SystemRandom().getrandbits(31) if seed is None else seed
    processes = [Process.of(c, sha256=_hash(c.file)) for c in candidates]
    if built is not None:
        pairs = zip(processes, built, strict=True)
        processes = [replace(process, file=file) for process, file in pairs]
    processes.append(processes[0])
    blocks, block_s = _shape(candidates, timing)
    count = min(timing.rounds if timing.precision is None else MOST_ROUNDS, MOST_ROUNDS)
    generator, size = random.Random(drawn), len(processes)
    return Schedule(
        session=uuid.uuid4().hex,
        seed=drawn,
        timing=timing,
        processes=tuple(processes),
        block_s=block_s,
        rounds=tuple(_draw_round(generator, size, blocks) for _ in range(count)),
    )


def _draw_round(generator: random.Random, size: int, blocks: int) -> Round:
    orders = [tuple(generator.sample(range(size), size)) for _ in range(2 + blocks)]
    return Round(orders[0], orders[1], tuple(orders[2:]))


def _shape(candidates: Sequence[Candidate], timing: Timing) -> tuple[int, float]:
    """Return how many blocks of how many seconds.

    Pools of worker threads must fall asleep after every block (some 40 ms), so there they are
    fewer and longer. Otherwise short blocks are worth more: on a shared machine the scatter of
    a round's ratio fell to a quarter from 8 blocks of 20 ms to 64 of 3 ms.
    """
    pooled = any(candidate.setup.threads > 1 for candidate in candidates)
    if not pooled or timing.rate_hz or timing.blocks < 2 * POOLED:
        return timing.blocks, timing.block_s
    blocks = max(timing.blocks // POOLED, min(LEAST_POOLED, timing.blocks // 2))
    return blocks, timing.block_s * POOLED


def _hash(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise ModelError(
            f"the model {file} cannot be read ({error.strerror}); give the path of an ONNX file"
        ) from error


def pack_schedule(schedule: Schedule, folder: Path) -> Path:
    """Copy all that a schedule needs into a new folder, and return the schedule's file there.

    The folder can be sent: paths in it are relative, and the runner and the conductor lie beside.
    A device needs Python, numpy and the runtimes.
    """
    folder.mkdir(parents=True)
    for script in (conductor.__file__, conductor.RUNNER):
        shutil.copy(script, folder)
    places: dict[Path, Path] = {}
    packed = _with_paths(schedule, lambda path: _copy(path, folder, places))
    write_json(folder / SCHEDULE, packed.to_json())
    return folder / SCHEDULE


def _copy(path: Path, folder: Path, places: dict[Path, Path]) -> Path:
    """Copy a file once, with the weights that lie outside of it; return where, from `folder`."""
    if path not in places:
        places[path] = Path("files", str(len(places)), path.name)
        for file in _parts(path):
            home = path.parent if file == path else path.resolve().parent
            to = folder / places[path].parent / file.relative_to(home)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)
    return places[path]


def _parts(path: Path) -> tuple[Path, ...]:
    """Return a file and those that it cannot be read without; an unknown suffix is ONNX."""
    if path.suffix == ".xml":  # OpenVINO
        return (path, path.resolve().with_suffix(".bin"))
    lone = {".npz", ".py", ".pt2"} | {runtime.built for runtime in RUNTIMES.values()} - {""}
    return (path,) if path.suffix in lone else model_files(path)


def read_schedule(path: Path) -> Schedule:
    """Read a schedule's file; its relative paths count from its folder."""
    schedule = Schedule.from_json(json.loads(path.read_text(encoding="utf8")))
    return _with_paths(schedule, lambda relative: path.resolve().parent / relative)


def _with_paths(schedule: Schedule, change: Callable[[Path], Path]) -> Schedule:
    processes = tuple(
        replace(
            process,
            file=change(process.file),
            feeds=change(process.feeds),
            pipeline=process.pipeline and change(process.pipeline),
            engine=process.engine and change(process.engine),
        )
        for process in schedule.processes
    )
    return replace(schedule, processes=processes)

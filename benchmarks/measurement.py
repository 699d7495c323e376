"""A measurement: the raw time of every call, its session and its conditions.

Statistics are derived (`edgekd.benchmarks.stats`) and never stored, so a better one can be
applied to old numbers. Every class goes to plain JSON values and back without loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Setup:
    """How a file is run. Two candidates of one session may differ in this and in the file."""

    runtime: str = "onnxruntime"  # a name of `edgekd.benchmarks.runtimes`
    provider: str = ""  # an execution provider of ONNX Runtime, a device of OpenVINO; "": the CPU
    threads: int = 1  # inside one inference
    streams: int = 1  # inferences at the same time
    options: tuple[tuple[str, str], ...] = ()  # session options of the runtime, by its own names

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        for name in ("threads", "streams"):
            if getattr(self, name) < 1:
                raise ValueError(f"Setup.{name} is {getattr(self, name)}; it must be 1 or more")


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Where and how it was timed. Another machine refuses comparison."""

    device: str
    cpu: str
    runtime: str  # with its version, as in "onnxruntime 1.31.1"
    provider: str
    threads: int
    os: str
    python: str
    governor: str | None
    emulated: bool
    streams: int = 1
    options: tuple[tuple[str, str], ...] = ()
    load_average: float | None = field(default=None, compare=False)
    """Of the last minute before the start: how busy the machine was with other work."""
    cores: int | None = field(default=None, compare=False)
    """Of the machine; None: not known."""
    other_cores: float | None = field(default=None, compare=False)
    """How many of them other programs used while it was timed; None: not known."""

    @property
    def machine(self) -> tuple[object, ...]:
        """The conditions that must be equal to compare two files; setups may differ."""
        return (self.device, self.cpu, self.os, self.governor, self.emulated)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        pairs = tuple((str(key), str(text)) for key, text in value.get("options", ()))
        return cls(**{**value, "options": pairs})


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The machine between two blocks. Counters count since boot; None: no such sensor."""

    at_s: float  # of its monotonic clock
    own_s: float  # CPU time of the process under test
    busy_s: float | None = None  # CPU time of everything, all cores added up
    steal_s: float | None = None  # that the hypervisor gave to others, all cores added up
    clock_hz: float | None = None  # mean over the cores
    temperature_c: float | None = None  # of the hottest sensor
    throttled: int | None = None  # events that the processor counted
    energy_j: float | None = None  # of the package or the board


@dataclass(frozen=True, kw_only=True)
class ProcessRun:
    """One fresh process: everything it was asked, in order."""

    round: int
    load_s: float  # creating the session, the file being in the page cache
    first_s: float  # the first inference after that
    blocks_s: tuple[tuple[float, ...], ...]
    """Block b of all runs of a round was timed side by side. Seconds of each call; at a fixed rate
    counted from the start that was intended."""
    peak_memory_bytes: int  # of the whole process, interpreter and runtime included
    harness_s: float = 0.0  # what the harness adds to a call: a call of nothing, timed the same way
    elapsed_s: tuple[float, ...] = ()  # of each block: with several streams calls overlap
    cpu_s: tuple[float, ...] = ()
    """Processor time of each block, all threads added up; empty at a fixed rate."""
    samples: tuple[Sample, ...] = ()  # before the first block, then after each
    parts_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Of an inference end to end, apart from the blocks: preprocess, copy_in, engine, copy_out,
    postprocess; the first and the last where the candidate has a pipeline."""

    def to_json(self) -> dict[str, Any]:
        columns = [f.name for f in fields(Sample)]
        rows = [[getattr(sample, name) for name in columns] for sample in self.samples]
        return {
            **{f.name: getattr(self, f.name) for f in fields(self)},
            "blocks_s": [list(block) for block in self.blocks_s],
            "elapsed_s": list(self.elapsed_s),
            "cpu_s": list(self.cpu_s),
            "samples": {"columns": columns, "rows": rows},
            "parts_s": {name: list(seconds) for name, seconds in self.parts_s.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        table = value["samples"]
        rows = (dict(zip(table["columns"], row, strict=True)) for row in table["rows"])
        parsed = {
            "blocks_s": tuple(tuple(block) for block in value["blocks_s"]),
            "elapsed_s": tuple(value["elapsed_s"]),
            "cpu_s": tuple(value["cpu_s"]),
            "samples": tuple(Sample(**row) for row in rows),
            "parts_s": {name: tuple(seconds) for name, seconds in value["parts_s"].items()},
        }
        return cls(**{**value, **parsed})


@dataclass(frozen=True)
class Measurement:
    """One file in one setup on one device. Only measurements of the same session are paired."""

    session: str
    file_sha256: str
    conditions: Conditions
    runs: tuple[ProcessRun, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "file_sha256": self.file_sha256,
            "conditions": self.conditions.to_json(),
            "runs": [run.to_json() for run in self.runs],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            session=value["session"],
            file_sha256=value["file_sha256"],
            conditions=Conditions.from_json(value["conditions"]),
            runs=tuple(ProcessRun.from_json(run) for run in value["runs"]),
        )


@dataclass(frozen=True)
class Candidate:
    """A file to time, on its own inputs.

    `feeds` is an .npz; each array has a leading axis of calls before the shape of the input.
    """

    file: Path
    feeds: Path
    setup: Setup = Setup()
    pipeline: Path | None = None
    """A Python file with the app's own steps around the model, for `Timing.parts`: `inputs()`
    returns raw samples, `preprocess(raw)` arrays by name, `postprocess(outputs)` anything."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long to time. The default takes about ten seconds for two candidates of 1 ms."""

    rounds: int = 6  # fresh processes per candidate: what the intervals count
    blocks: int = 40  # per process; short ones see the same machine as their neighbours
    block_s: float = 0.004  # at least 2 calls, however slow
    warmup_s: float = 0.1
    time_limit_s: float = 120.0  # no new round after this, once there are three
    precision: float | None = None
    """Half of the width that a 95 % interval may have, relative. Rounds are added until all
    intervals are as narrow, or `time_limit_s` is over; None: exactly `rounds`."""
    rate_hz: float | None = None  # calls start on this schedule; None: one after the other
    parts: bool = False  # also time an inference end to end, its parts apart
    looks: tuple[int, ...] = ()
    """After so many rounds the session may end, where what is asked of it is decided."""
    error: float = 0.05  # how often its intervals, at all looks together, may lack the true ratio

    def __post_init__(self) -> None:
        """Refuse what cannot be timed."""
        object.__setattr__(self, "looks", tuple(self.looks))  # a list where it comes from JSON
        if self.blocks < 1:
            raise ValueError(f"Timing.blocks is {self.blocks}; it must be 1 or more")
        if self.rounds < 2:
            raise ValueError(f"Timing.rounds is {self.rounds}; an interval needs 2 or more")
        for name in ("block_s", "warmup_s", "time_limit_s", "precision", "rate_hz"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"Timing.{name} is {value}; it must be positive")


@dataclass(frozen=True)
class Session:
    """Measurements that were interleaved, in the order of the candidates."""

    measurements: tuple[Measurement, ...]
    twin: Measurement  # the first candidate, timed a second time as if another
    timing: Timing
    idle: tuple[Sample, Sample] | None = None  # around a rest before the start: what idle costs
    seed: int | None = None  # of the order of its blocks; None: not known

    @property
    def rounds(self) -> int:
        """How many it has."""
        return len(self.twin.runs)

    def to_json(self) -> dict[str, Any]:
        return {
            "measurements": [measurement.to_json() for measurement in self.measurements],
            "twin": self.twin.to_json(),
            "timing": asdict(self.timing),
            "idle": self.idle and [asdict(sample) for sample in self.idle],
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        idle = value["idle"]
        return cls(
            measurements=tuple(Measurement.from_json(item) for item in value["measurements"]),
            twin=Measurement.from_json(value["twin"]),
            timing=Timing(**value["timing"]),
            idle=idle and (Sample(**idle[0]), Sample(**idle[1])),
            seed=value["seed"],
        )

"""What a timing is: raw seconds of every call, the session they come from, and the conditions.

Statistics are derived (`statistics.py`) and never stored, so a better one can be applied to old
numbers. Every class goes to plain JSON values and back without loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Conditions:
    """Where and how it was timed. Unequal conditions refuse comparison."""

    device: str
    cpu: str
    runtime: str  # with its version, as in "onnxruntime 1.31.1"
    provider: str
    threads: int
    os: str
    python: str
    governor: str | None
    emulated: bool
    load_average: float | None = field(default=None, compare=False)
    """Of the last minute, before the start: says how busy the machine was with other work."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(**value)


@dataclass(frozen=True)
class ProcessRun:
    """One fresh process: everything it was asked, in order."""

    round: int
    load_s: float  # creating the session, the file being in the page cache
    first_s: float  # the first inference after that
    blocks_s: tuple[
        tuple[float, ...], ...
    ]  # block b of all runs of a round were timed side by side
    peak_memory_bytes: int  # of the whole process, interpreter and runtime included

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "blocks_s": [list(block) for block in self.blocks_s]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        blocks = tuple(tuple(block) for block in value["blocks_s"])
        return cls(**{**value, "blocks_s": blocks})


@dataclass(frozen=True)
class Measurement:
    """One file on one device. Only measurements of the same session may be paired."""

    session: str
    file_sha256: str
    conditions: Conditions
    runs: tuple[ProcessRun, ...]
    steady: bool  # False: it drifted, or there was time for too few processes; no claim rests on it

    def to_json(self) -> dict[str, Any]:
        return {
            "session": self.session,
            "file_sha256": self.file_sha256,
            "conditions": self.conditions.to_json(),
            "runs": [run.to_json() for run in self.runs],
            "steady": self.steady,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(
            session=value["session"],
            file_sha256=value["file_sha256"],
            conditions=Conditions.from_json(value["conditions"]),
            runs=tuple(ProcessRun.from_json(run) for run in value["runs"]),
            steady=value["steady"],
        )


@dataclass(frozen=True)
class Session:
    """Measurements that were interleaved, in the order of the candidates."""

    measurements: tuple[Measurement, ...]
    floor: float  # relative; a difference smaller than this was also seen between equal files
    twin: Measurement | None = None  # the first candidate, timed a second time as if another

    def to_json(self) -> dict[str, Any]:
        return {
            "measurements": [measurement.to_json() for measurement in self.measurements],
            "floor": self.floor,
            "twin": self.twin and self.twin.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        twin = value.get("twin")
        return cls(
            measurements=tuple(Measurement.from_json(item) for item in value["measurements"]),
            floor=value["floor"],
            twin=twin and Measurement.from_json(twin),
        )


@dataclass(frozen=True)
class Candidate:
    """A file to time, on its own inputs.

    `feeds` is an .npz; each array has a leading axis of calls before the shape of the input.
    """

    file: Path
    feeds: Path


@dataclass(frozen=True)
class Timing:
    """How long to time. The default takes about ten seconds for two candidates of 1 ms."""

    threads: int = 1
    rounds: int = 6  # fresh processes per candidate: what the intervals count
    blocks: int = 8  # per process
    block_s: float = 0.02  # at least 3 calls, however slow
    warmup_s: float = 0.1
    time_limit_s: float = 120.0  # no new round after this, once there are three

    def __post_init__(self) -> None:
        """Refuse what cannot be timed."""
        for name in ("threads", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"Timing.{name} is {getattr(self, name)}; it must be 1 or more")
        if self.rounds < 2:
            raise ValueError(f"Timing.rounds is {self.rounds}; an interval needs 2 or more")
        for name in ("block_s", "warmup_s", "time_limit_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"Timing.{name} is {getattr(self, name)}; it must be positive")

"""Sessions with seconds given by hand, of real files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from edgekd.benchmarks.feeds import describe, model_inputs
from edgekd.benchmarks.measurement import (
    Conditions,
    Measurement,
    ProcessRun,
    Sample,
    Session,
    Timing,
)
from edgekd.benchmarks.result import BenchResult, Described, row
from edgekd.benchmarks.stats import noise_floor
from edgekd.store import file_sha256

Timed = Callable[..., BenchResult]


def run(number: int, seconds: float) -> ProcessRun:
    """A process whose calls differ by up to 1 %, the same every time."""
    spread = 1 + 0.01 * np.random.default_rng(number).uniform(-1, 1, (4, 5))
    blocks = tuple(tuple(map(float, block)) for block in seconds * spread)
    elapsed = tuple(sum(block) for block in blocks)
    samples = tuple(Sample(at_s=float(i), own_s=0.1 * i, busy_s=0.3 * i) for i in range(5))
    return ProcessRun(
        round=number,
        load_s=0.1,
        first_s=0.01,
        blocks_s=blocks,
        peak_memory_bytes=1_000_000,
        harness_s=1e-7,
        elapsed_s=elapsed,
        samples=samples,
    )


@pytest.fixture
def timed(conditions: Conditions) -> Timed:
    """Return a result of files, each with the seconds of its processes."""

    def build(
        *files: tuple[Path, Sequence[float]], at: Conditions = conditions, feeds: str = "random"
    ) -> BenchResult:
        measured = [
            Measurement("s", file_sha256(file), at, tuple(run(i, s) for i, s in enumerate(seconds)))
            for file, seconds in files
        ]
        twin = measured[0]
        session = Session(tuple(measured), twin, Timing())
        inputs = {
            item.name: f"{item.dtype} {describe(item.shape)}" for item in model_inputs(files[0][0])
        }
        floor = noise_floor(session)
        rows = tuple(
            row(Described(f, f.name, 8, inputs, f.stat().st_size), m, session, floor)
            for (f, _), m in zip(files, measured, strict=True)
        )
        return BenchResult(rows, session, feeds)

    return build


def plain(value: object) -> object:
    """What JSON makes of it."""
    return json.loads(json.dumps(asdict(value)))  # type: ignore[call-overload]

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgekd.benchmarks.measurement import (
    Conditions,
    Measurement,
    ProcessRun,
    Sample,
    Session,
    Setup,
    Timing,
)


def test_a_session_survives_json(conditions: Conditions) -> None:
    busy = replace(conditions, load_average=1.5, governor="performance", options=(("a", "1"),))
    sample = Sample(at_s=1.5, own_s=0.25, temperature_c=51.0, energy_j=12.5)
    runs = tuple(
        ProcessRun(
            round=r,
            load_s=0.1,
            first_s=0.01,
            blocks_s=((1e-3, 2e-3), (3e-3,)),
            peak_memory_bytes=1 << 20,
            harness_s=1e-7,
            elapsed_s=(3e-3, 3e-3),
            cpu_s=(3e-3, 2e-3),
            samples=(sample, replace(sample, at_s=2.0, energy_j=None)),
            parts_s={"engine": (1e-3, 2e-3)},
        )
        for r in range(2)
    )
    measurement = Measurement("s", "abc", busy, runs)
    timing = Timing(precision=0.02, rate_hz=30.0)
    for idle in (None, (sample, sample)):
        session = Session((measurement, measurement), measurement, timing, idle, seed=7)
        text = json.dumps(session.to_json(), allow_nan=False)
        assert Session.from_json(json.loads(text)) == session


def test_how_busy_the_machine_was_is_no_condition(conditions: Conditions) -> None:
    assert replace(conditions, load_average=1.0) == replace(conditions, load_average=2.0)
    assert replace(conditions, threads=2) != conditions


@pytest.mark.parametrize(
    ("name", "value"),
    [("rounds", 1), ("blocks", 0), ("block_s", 0.0), ("time_limit_s", -1.0), ("precision", 0.0)],
)
def test_a_timing_that_times_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"Timing.{name} is {value}"):
        Timing(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["threads", "streams"])
def test_a_setup_that_runs_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"Setup.{name} is 0"):
        Setup(**{name: 0})  # type: ignore[arg-type]

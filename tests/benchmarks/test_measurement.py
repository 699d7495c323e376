from __future__ import annotations

import json
from dataclasses import replace

import pytest

from edgekd.benchmarks.measurement import Conditions, Measurement, ProcessRun, Session, Timing


def test_a_session_survives_json(conditions: Conditions) -> None:
    busy = replace(conditions, load_average=1.5, governor="performance")
    runs = tuple(ProcessRun(r, 0.1, 0.01, ((1e-3, 2e-3), (3e-3,)), 1 << 20) for r in range(2))
    measurement = Measurement("s", "abc", busy, runs, True)
    for twin in (None, measurement):
        session = Session((measurement, measurement), 0.01, twin)
        text = json.dumps(session.to_json(), allow_nan=False)
        assert Session.from_json(json.loads(text)) == session


def test_how_busy_the_machine_was_is_no_condition(conditions: Conditions) -> None:
    assert replace(conditions, load_average=1.0) == replace(conditions, load_average=2.0)
    assert replace(conditions, threads=2) != conditions


@pytest.mark.parametrize(
    ("name", "value"),
    [("threads", 0), ("rounds", 1), ("blocks", 0), ("block_s", 0.0), ("time_limit_s", -1.0)],
)
def test_a_timing_that_times_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"Timing.{name} is {value}"):
        Timing(**{name: value})  # type: ignore[arg-type]

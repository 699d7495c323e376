from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgekd.benchmarks.measurement import (
    Conditions,
    Measurement,
    ProcessRun,
    Sample,
    Session,
    Timing,
)
from edgekd.benchmarks.stats import energy_j, warnings

BLOCKS = 4
BLOCK_S = 0.1


def run(number: int, first_at_s: float, **counters: Any) -> ProcessRun:
    """A process with blocks of 0.1 s, one every 0.2 s; counters grow by so much in a second."""

    def sample(at_s: float, own_s: float) -> Sample:
        return replace(
            Sample(at_s=at_s, own_s=own_s), **{name: rate * at_s for name, rate in counters.items()}
        )

    ends = [first_at_s + 2 * BLOCK_S * i for i in range(BLOCKS + 1)]
    return ProcessRun(
        round=number,
        load_s=0.1,
        first_s=0.1,
        blocks_s=((0.01,) * 10,) * BLOCKS,
        peak_memory_bytes=1,
        harness_s=1e-7,
        elapsed_s=(BLOCK_S,) * BLOCKS,
        samples=tuple(sample(end, i * BLOCK_S) for i, end in enumerate(ends)),
    )


def session(conditions: Conditions, **counters: Any) -> Session:
    """A file and its twin take turns: one works always, each half of the time."""
    first = tuple(run(i, 10.0 * i + 1.0, **counters) for i in range(3))
    twin = tuple(run(i, 10.0 * i + 1.1, **counters) for i in range(3))
    measurement = Measurement("s", "a", conditions, first)
    return Session((measurement,), Measurement("s", "a", conditions, twin), Timing())


def said(session: Session) -> str:
    return "\n".join(f"{doubt.what}: {doubt.advice}" for doubt in warnings(session))


def test_a_quiet_machine_leaves_no_doubt(conditions: Conditions) -> None:
    assert said(session(conditions)) == ""
    assert said(session(conditions, busy_s=1.0, steal_s=0.0)) == ""  # all of it is our own


def test_work_of_others_is_what_is_left_of_all_work(conditions: Conditions) -> None:
    """1.5 cores were busy, one of them with the process under test."""
    assert "other processes kept 0.5 cores busy" in said(session(conditions, busy_s=1.5))


def test_steal_is_told(conditions: Conditions) -> None:
    assert "the hypervisor kept 20 % of a core" in said(session(conditions, steal_s=0.2))


def test_clocks_that_move_and_a_governor_that_moves_them(conditions: Conditions) -> None:
    assert "between" in said(session(conditions, clock_hz=1e9))  # it grows with time
    saving = session(replace(conditions, governor="powersave"))
    assert "the clock governor is powersave" in said(saving)
    assert said(session(replace(conditions, governor="performance"))) == ""


def test_a_harness_that_weighs_is_told(conditions: Conditions) -> None:
    plain = session(conditions)
    runs = tuple(replace(r, harness_s=2e-4) for r in plain.measurements[0].runs)
    heavy = replace(plain, measurements=(replace(plain.measurements[0], runs=runs),))
    assert "the harness itself takes 200000 ns of a call, 2.0 %" in said(heavy)


def test_a_precision_that_was_not_reached_is_told(conditions: Conditions) -> None:
    plain = session(conditions)
    slower = tuple(
        replace(r, blocks_s=((0.01 * (1 + r.round),) * 10,) * BLOCKS)
        for r in plain.measurements[0].runs
    )
    wide = replace(plain, measurements=(replace(plain.measurements[0], runs=slower),))
    assert "wider than the requested +- 2 %" in said(replace(wide, timing=Timing(precision=0.02)))


def test_energy_by_hand(conditions: Conditions) -> None:
    """The idle machine takes 5 W, this one 8 W; a call of 10 ms takes 30 mJ above idle."""
    idle = (Sample(at_s=0.0, own_s=0.0, energy_j=0.0), Sample(at_s=0.5, own_s=0.0, energy_j=2.5))
    counted = replace(session(conditions, energy_j=8.0), idle=idle)
    found = energy_j(counted.measurements[0], counted)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.03, 0.03, 0.03))
    assert found.n == 3


def test_energy_without_a_counter_is_not_measured(conditions: Conditions) -> None:
    plain = session(conditions)
    assert energy_j(plain.measurements[0], plain) is None
    idle = (Sample(at_s=0.0, own_s=0.0, energy_j=0.0), Sample(at_s=0.5, own_s=0.0, energy_j=2.5))
    without = replace(plain, idle=idle)
    assert energy_j(without.measurements[0], without) is None
    less = replace(session(conditions, energy_j=4.0), idle=idle)  # below idle: cannot be told
    assert energy_j(less.measurements[0], less) is None

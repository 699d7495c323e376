"""Automatic control of accuracy: repairs one after the other, until the outputs follow as wanted.

The cheapest comes first. A repair is kept only if the outputs follow better with it. What each one
gained and cost is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, get_args

from edgekd.errors import NothingToDo
from edgekd.quantization.accuracy.costs import count_work
from edgekd.quantization.accuracy.floats import Costs, leave_in_float
from edgekd.quantization.accuracy.workshop import Repair, Repaired, Trial, Workshop

Method = Literal["bias-correction", "equalize", "smooth", "rounding", "layers-in-float"]
Accuracy = Literal["auto"] | tuple[Method, ...]
WANTED_DB = 22.0
"""Of the worst output: the floor for files without labels is 20 dB, and the validation samples err
more than those seen here; 2 dB is 1.6 times the noise."""

_LEAST_GAIN_DB = 0.1
"""A repair with less is not worth a difference to the plain file."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One step of the escalation."""

    method: str
    """`plain`, or a repair."""
    snr_db: float | None
    """Of the worst output with it; None: there is no noise, or the graph does not run."""
    gain_db: float | None
    """Against the step before it that was kept; None where that cannot be said."""
    seconds: float
    kept: bool
    note: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of the repairs."""

    repaired: Repaired
    trial: Trial
    attempts: tuple[Attempt, ...]
    without_db: Mapping[str, float] = field(default_factory=dict)
    """Signal to noise of the worst output with one layer in float, by layer, where it was tried."""


def escalate(
    workshop: Workshop,
    accuracy: Accuracy = "auto",
    *,
    wanted_db: float = WANTED_DB,
    costs: Costs = count_work,
) -> Outcome:
    """Repair a graph.

    Args:
        workshop: of the calibrated graph.
        accuracy: "auto": in turn, until the worst output follows as wanted. A list: these, whether
            they are needed or not; layers are left in float only as far as they are.
        wanted_db: signal to noise of the worst output, on samples that nothing is fitted to.
        costs: what layers cost in float.
    """
    begin = time.monotonic()
    repaired = workshop.repair(frozenset())
    trial = repaired.build()
    attempts = [_attempt("plain", trial, None, begin, kept=True)]
    without: dict[str, float] = {}
    kept: set[Repair] = set()
    for method in get_args(Method):
        if accuracy != "auto" and method not in accuracy:
            continue
        if trial.snr_db >= wanted_db and (accuracy == "auto" or method == "layers-in-float"):
            continue
        begin = time.monotonic()
        if method == "layers-in-float":
            better, without = leave_in_float(repaired, trial, costs, wanted_db=wanted_db)
            note = "" if better is not trial else "no few layers would be enough"
            attempts.append(_attempt(method, better, trial, begin, better is not trial, note))
            trial = better
            continue
        try:
            candidate = workshop.repair(kept | {method})
        except NothingToDo as signal:
            seconds = time.monotonic() - begin
            attempts.append(
                Attempt(
                    method=method,
                    snr_db=None,
                    gain_db=None,
                    seconds=seconds,
                    kept=False,
                    note=str(signal),
                )
            )
            continue
        better = candidate.build()
        gains = better.snr_db >= trial.snr_db + _LEAST_GAIN_DB
        is_better = better.noise < trial.noise and gains  # infinite noise is no better than itself
        attempts.append(_attempt(method, better, trial, begin, is_better))
        if is_better:
            repaired, trial = candidate, better
            kept.add(method)
    return Outcome(repaired, trial, tuple(attempts), without)


def _attempt(
    method: str, trial: Trial, before: Trial | None, begin: float, kept: bool, note: str = ""
) -> Attempt:
    return Attempt(
        method=method,
        snr_db=finite(trial.snr_db),
        gain_db=None if before is None else finite(trial.snr_db - before.snr_db),
        seconds=round(time.monotonic() - begin, 2),
        kept=kept,
        note=note,
    )


def finite(value: float | None) -> float | None:
    """Return a number of dB to two places; None where it is not finite, which JSON cannot say."""
    return round(value, 2) if value is not None and isfinite(value) else None

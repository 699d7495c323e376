"""Automatic control of accuracy: repairs one after the other, until the outputs follow as wanted.

That is decided by signal to noise on calibration samples; then, where the budget of a run is
known, by the quality on the validation split. The cheapest repair comes first. One is kept only if
the outputs follow better with it. What each one gained and cost is recorded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal, get_args

from edgekd.errors import NothingToDo
from edgekd.evaluation.quality_gate import Judged
from edgekd.quantization.accuracy.costs import count_work
from edgekd.quantization.accuracy.floats import Costs, Found, leave_in_float
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
    quality: str = ""
    """On the validation split, in words; "" where it was not judged."""


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
    judge: Callable[[Trial], Judged] | None = None,
) -> Outcome:
    """Repair a graph.

    Args:
        workshop: of the calibrated graph.
        accuracy: "auto": in turn, until the worst output follows as wanted. A list: these, whether
            they are needed or not; layers are left in float only as far as they are.
        wanted_db: signal to noise of the worst output, on samples that nothing is fitted to.
        costs: what layers cost in float.
        judge: returns the quality of a trial that follows as wanted, for "auto": the budget must
            be met too.
    """
    goal = _Goal(wanted_db, judge if accuracy == "auto" else None)
    begin = time.monotonic()
    repaired = workshop.repair(frozenset())
    trial = repaired.build()
    attempts = [_attempt("plain", trial, None, goal, begin, kept=True)]
    without: Mapping[str, float] = {}
    kept: set[Repair] = set()
    for method in get_args(Method):
        if accuracy != "auto" and method not in accuracy:
            continue
        if (accuracy == "auto" or method == "layers-in-float") and goal.is_met(trial):
            continue
        begin = time.monotonic()
        if method == "layers-in-float":
            found = leave_in_float(
                repaired, trial, costs, wanted_db=wanted_db, is_enough=goal.is_met
            )
            note = _describe_floats(found, trial)
            kept_any = found.trial is not trial
            attempts.append(_attempt(method, found.trial, trial, goal, begin, kept_any, note))
            trial, without = found.trial, found.without_db
            continue
        try:
            candidate = workshop.repair(kept | {method})
        except NothingToDo as signal:
            attempts.append(_impossible(method, signal, begin))
            continue
        better = candidate.build()
        gains = better.snr_db >= trial.snr_db + _LEAST_GAIN_DB
        is_better = better.noise < trial.noise and gains  # infinite noise is no better than itself
        attempts.append(_attempt(method, better, trial, goal, begin, is_better))
        if is_better:
            repaired, trial = candidate, better
            kept.add(method)
    return Outcome(repaired, trial, tuple(attempts), without)


@dataclass(frozen=True)
class _Goal:
    """How accurate is enough."""

    wanted_db: float
    judge: Callable[[Trial], Judged] | None
    """None: signal to noise alone decides."""

    def ask(self, trial: Trial) -> Judged | None:
        """Return the quality of a trial that follows as wanted."""
        if self.judge is None or trial.snr_db < self.wanted_db:
            return None
        return self.judge(trial)

    def is_met(self, trial: Trial) -> bool:
        """Return whether a trial is enough."""
        judged = self.ask(trial)
        return trial.snr_db >= self.wanted_db and (judged is None or judged.within)


def _describe_floats(found: Found, before: Trial) -> str:
    count = len(before.plan.layers) - len(found.trial.plan.layers)
    if not count:
        return "no few layers would be enough"
    words = "layer in float gives" if count == 1 else "layers in float give"
    return f"{count} {words} back {100 * found.cost:.1f} % of what INT8 saves"


def _impossible(method: str, signal: NothingToDo, begin: float) -> Attempt:
    return Attempt(
        method=method,
        snr_db=None,
        gain_db=None,
        seconds=round(time.monotonic() - begin, 2),
        kept=False,
        note=str(signal),
    )


def _attempt(
    method: str,
    trial: Trial,
    before: Trial | None,
    goal: _Goal,
    begin: float,
    kept: bool,
    note: str = "",
) -> Attempt:
    judged = goal.ask(trial) if kept else None
    return Attempt(
        method=method,
        snr_db=finite(trial.snr_db),
        gain_db=None if before is None else finite(trial.snr_db - before.snr_db),
        seconds=round(time.monotonic() - begin, 2),
        kept=kept,
        note=note,
        quality="" if judged is None else judged.text,
    )


def finite(value: float | None) -> float | None:
    """Return a number of dB to two places; None where it is not finite, which JSON cannot say."""
    return round(value, 2) if value is not None and isfinite(value) else None

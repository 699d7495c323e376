"""End a session as soon as its interval decides, without more false claims.

Whoever looks at a 95 % interval after every round and stops at the first that excludes 1 is wrong
far more often than in 5 % of sessions. So a session has a few looks that are fixed in advance, and
the permitted error is divided among them: at look k the interval has the error e_k, and the e_k add
up to the error of the session. By Bonferroni's inequality all intervals together contain the true
ratio with probability 1 - error, whatever decides when to stop and however the looks depend on each
other. These are repeated confidence intervals (C. Jennison, B. Turnbull, "Interim Analyses: The
Repeated Confidence Interval Approach", Journal of the Royal Statistical Society B 51, 1989). The
error is divided by a spending function (K. Lan, D. DeMets, "Discrete Sequential Boundaries for
Clinical Trials", Biometrika 70, 1983), of the power family (K. Kim, D. DeMets, "Design and Analysis
of Group Sequential Tests Based on the Type I Error Spending Rate Function", Biometrika 74, 1987).

`tests/benchmarks/stats/test_looks.py` counts false claims with and without this division.
"""

from __future__ import annotations

import math
from dataclasses import replace

from edgekd.benchmarks.measurement import Session, Timing

LEAST_ROUNDS = 3
POWER = 2.0  # of the spending function: a small part of the error goes to the early looks
FIRST_SHARE = 0.8  # of the permitted error goes to the first session, the rest to a second one
MORE_ROUNDS = 1.5  # of a second session


def plan_looks(rounds: int) -> tuple[int, ...]:
    """Return after how many rounds a session of at most `rounds` may end early."""
    looks = {LEAST_ROUNDS, rounds // 2, 3 * rounds // 4}
    return tuple(sorted(look for look in looks if LEAST_ROUNDS <= look < rounds))


def split_error(timing: Timing) -> tuple[Timing, Timing]:
    """Return the timings of a session and of a second one, if the first is doubtful.

    Who may try twice divides the error once more. The second has more rounds: with its smaller
    part of the error its intervals are then as narrow.
    """
    if not timing.looks:
        return timing, timing
    first = replace(timing, error=FIRST_SHARE * timing.error)
    rounds = math.ceil(timing.rounds * MORE_ROUNDS)
    error = timing.error - first.error
    second = replace(timing, error=error, rounds=rounds, looks=plan_looks(rounds))
    return first, second


def error_at(timing: Timing, done: int) -> float:
    """Return the error of the intervals of a session that ended after `done` rounds.

    At a planned look it is that look's part. At any other end (all rounds are done, or the time is
    up) it is what the earlier looks have left.
    """
    spent = 0.0
    for look in timing.looks:
        if look > done:
            break
        upto = timing.error * float((look / max(timing.rounds, look)) ** POWER)
        if look == done:
            return upto - spent
        spent = upto
    return timing.error - spent


def error_of(session: Session) -> float:
    """Return the error of the intervals of a session, as far as it went."""
    return error_at(session.timing, session.rounds)

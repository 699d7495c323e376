"""Find regular stalls: every n-th call, or every t seconds.

A stall is a call far slower than its block. Stalls at random fall anywhere in a period; regular
ones fall into one phase of it. For each period that comes into question the fullest phase is
found, and how often so many stalls would meet there by chance: at most
C exp(-n KL(k/n || w)) for k of n stalls in a share w of the period and C places to choose from
(W. Hoeffding, "Probability Inequalities for Sums of Bounded Random Variables", Journal of the
American Statistical Association 58(301), 1963), times the number of periods tried (Bonferroni).
Periods in seconds are proposed by a Fourier transform with its harmonics added up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekd.benchmarks.stats.blocks import Blocks, Floats, Ints
from edgekd.benchmarks.stats.events import Event

ALPHA = 0.01
SLOW = 1.3  # times the median of the block
DEVIATIONS = 8.0  # of usual calls, above that median
LEAST_STALLS = 4
MOST_STALLS = 400
LEAST_CALLS = 10  # of a period: shorter ones are those of the inputs, which rotate
MOST_CALLS = 500
LEAST_TIMED = 20  # calls in a period of seconds
MOST_BINS = 1 << 16  # lengths of a call: how far stalls are followed in time
HARMONICS = 8
PROPOSED = 30  # periods in seconds that are checked closely
MOST_UNITS = 24  # processes or blocks, those with most stalls
FILLED = 0.5  # of the periods must contain their stall


@dataclass(frozen=True)
class _Regular:
    """The period whose stalls meet by chance least often."""

    period: float  # calls or seconds
    stalls: int
    first: int  # the first stall of that phase, of all stalls
    p: float


def find_stalls(blocks: Blocks) -> list[Event]:
    """Return the periodic stall of a measurement, if there is one."""
    if blocks.overlapping:
        return []
    calls = _stalled(blocks)
    if len(calls) < LEAST_STALLS:
        return []
    found = [(r, "calls") for r in _by_call(blocks, calls)]
    found += [(r, "seconds") for r in _by_second(blocks, calls)]
    best, unit = min(found, key=lambda pair: pair[0].p, default=(None, ""))
    if best is None or best.p * 2 >= ALPHA:
        return []
    usual_s = np.repeat(blocks.medians_s, blocks.counts)[calls]
    times = float(np.median(blocks.seconds[calls] / usual_s))
    every = f"{best.period:.0f} calls" if unit == "calls" else _seconds(best.period)
    at_s = float(blocks.call_starts()[calls[best.first]])
    text = f"every {every} a call took {times:.1f} times as long as the others"
    return [Event("periodic stall", at_s, times - 1, text)]


def _stalled(blocks: Blocks) -> Ints:
    """Which calls stalled; of neighbours the first. The first call of a block does not count.

    It finds colder caches than the others, and would look regular.
    """
    usual_s = np.repeat(blocks.medians_s, blocks.counts)
    away = blocks.seconds / usual_s - 1
    deviation = 1.4826 * float(np.median(np.abs(away)))
    slow = away > max(SLOW - 1, DEVIATIONS * deviation)
    slow[blocks.first] = False
    slow[1:] &= ~slow[:-1]
    calls = np.flatnonzero(slow)
    if len(calls) > MOST_STALLS:
        calls = np.sort(calls[np.argsort(away[calls])[-MOST_STALLS:]])
    return calls


def _by_call(blocks: Blocks, calls: Ints) -> list[_Regular]:
    """Look for a fixed number of calls between stalls.

    Processes and blocks may each begin in a phase of their own (calls before a block are not
    counted), or all processes in the same.
    """
    block = np.searchsorted(blocks.first, calls, side="right") - 1
    process = blocks.run[block]
    origin = blocks.first[[blocks.rows(p).start for p in range(blocks.processes)]]
    longest = int(np.diff(origin, append=len(blocks.seconds)).max())
    periods = np.arange(LEAST_CALLS, min(MOST_CALLS, longest) + 1)
    if len(periods) == 0:
        return []
    alike = calls - origin[process]
    found = [_fullest(periods, [alike], calls, len(blocks.seconds))]
    for unit, sizes in (
        (process, np.diff(origin, append=len(blocks.seconds))),
        (block, blocks.counts),
    ):
        members = [np.flatnonzero(unit == u) for u in np.unique(unit)]
        members = sorted((m for m in members if len(m) > 2), key=len)[-MOST_UNITS:]
        if members and not (unit is process and blocks.processes == 1):
            watched = sum(int(sizes[unit[m[0]]]) for m in members)
            positions = [calls[m] for m in members]
            found.append(_fullest(periods, positions, calls, watched))
    return [regular for regular in found if regular is not None]


def _fullest(periods: Ints, units: list[Ints], calls: Ints, watched: int) -> _Regular | None:
    """Of periods in calls, the one whose stalls meet best, in a phase of each unit's own.

    Args:
        periods: in calls.
        units: positions of the stalls of each unit.
        calls: of all stalls, to find the first again.
        watched: calls of these units, slow or not.
    """
    logs = np.zeros(len(periods))
    met = np.zeros(len(periods), dtype=np.intp)
    for positions in units:
        phases = np.sort(positions % periods[:, None], axis=1)
        most = _longest_run(phases)
        logs += np.minimum(0.0, _log_chance(len(positions), most, 1 / periods))
        met += most
    logs = _fisher(logs, len(units)) + np.log(len(periods))
    logs[(met < LEAST_STALLS) | (met < FILLED * watched / periods)] = 0.0
    best = int(np.argmin(logs))
    if logs[best] >= 0:
        return None
    # Divisors of the true period contain the same stalls, but twice as many periods stay empty;
    # multiples contain fewer. The most significant is the true one.
    return _Regular(float(periods[best]), int(met[best]), 0, float(np.exp(logs[best])))


def _longest_run(rows: Ints) -> Ints:
    """How often the commonest value occurs in each sorted row."""
    n = rows.shape[1]
    index = np.broadcast_to(np.arange(n), rows.shape)
    begins = np.concatenate([np.ones((len(rows), 1), bool), rows[:, 1:] != rows[:, :-1]], axis=1)
    start = np.maximum.accumulate(np.where(begins, index, 0), axis=1)
    return np.asarray((index - start).max(axis=1) + 1)


def _log_chance(n: int, met: Ints, share: Floats) -> Floats:
    """Log of how often, at most, `met` of n stalls fall into a share of the period by chance.

    One of them chooses the place, n of them can.
    """
    others = max(1, n - 1)
    k = np.clip((met - 1) / others, 1e-12, 1 - 1e-12)
    divergence = k * np.log(k / share) + (1 - k) * np.log((1 - k) / (1 - share))
    return np.asarray(np.where(k > share, np.log(n) - others * divergence, 0.0))


def _fisher(logs: Floats, units: int) -> Floats:
    """Log of the p-value of so many together (R. Fisher): chi-squared with 2 units degrees."""
    x = -logs
    terms = np.arange(units)
    factorials = np.cumsum(np.log(np.maximum(terms, 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = np.where(terms == 0, 0.0, terms * np.log(x[:, None])) - factorials
    peak = powers.max(axis=1)
    total = peak + np.log(np.sum(np.exp(powers - peak[:, None]), axis=1))
    return np.asarray(np.where(x > 0, np.minimum(0.0, total - x), 0.0))


def _by_second(blocks: Blocks, calls: Ints) -> list[_Regular]:
    """Look for a fixed time between stalls, the same through the whole session."""
    call_s = float(np.median(blocks.medians_s))
    starts = blocks.call_starts()
    watched = starts[starts < starts[0] + MOST_BINS * call_s] - starts[0]
    at_s = watched[calls[: np.searchsorted(calls, len(watched))]]
    span_s = float(watched[-1])
    if len(at_s) < LEAST_STALLS or span_s < LEAST_STALLS * LEAST_TIMED * call_s:
        return []
    found = []
    for rate_hz in _proposed(at_s, span_s, call_s):
        # A stall begins at any time of a call.
        share = min(0.125, max(1 / 64, 2 * call_s * rate_hz))
        tried = 2 * span_s / (LEAST_TIMED * call_s) / share
        rates = rate_hz + np.arange(-4, 5) / (128 * span_s)
        met = [_fullest_phase(at_s * rate % 1.0, share) for rate in rates]
        best = int(np.argmax([count for count, _ in met]))
        log = _log_chance(len(at_s), np.array([met[best][0]]), np.array([share]))[0]
        if log + np.log(tried) < np.log(ALPHA):
            found += _checked(at_s, watched, float(rates[best]), met[best][1], share, tried)
    return found


def _proposed(at_s: Floats, span_s: float, call_s: float) -> Floats:
    """Rates in Hz at which the stalls have most power, harmonics added up.

    As pulsars are found: short pulses have as much power in each harmonic as in the first.
    """
    bins = int(span_s / call_s) + 1
    size = 1 << (2 * bins - 1).bit_length()
    train = np.bincount((at_s / call_s).astype(np.intp), minlength=bins)
    power = np.square(np.abs(np.fft.rfft(train, size)))
    # In units of a harmonic's part of the transform's resolution, so that the last one is hit.
    first = int(HARMONICS * LEAST_STALLS * size / bins)
    tones = np.arange(first, HARMONICS * size // LEAST_TIMED)
    total = np.zeros(len(tones))
    for harmonic in range(1, HARMONICS + 1):
        total += power[np.round(tones * (harmonic / HARMONICS)).astype(np.intp)]
    peaks = np.flatnonzero((total[1:-1] >= total[:-2]) & (total[1:-1] > total[2:])) + 1
    peaks = peaks[np.argsort(total[peaks])[-PROPOSED:]]
    return np.asarray(tones[peaks] / (HARMONICS * size * call_s))


def _fullest_phase(phases: Floats, share: float) -> tuple[int, float]:
    """How many phases lie in the fullest part of a turn that is so wide, and its middle."""
    ordered = np.sort(phases)
    twice = np.concatenate([ordered, ordered + 1])
    counts = np.searchsorted(twice, ordered + share, side="right") - np.arange(len(ordered))
    best = int(np.argmax(counts))
    return int(counts[best]), float(ordered[best] + share / 2)


def _checked(
    at_s: Floats, watched: Floats, rate_hz: float, middle: float, share: float, tried: float
) -> list[_Regular]:
    """Hold a period against when it was looked, and count each of its turns once.

    Blocks come nearly regularly themselves, and other work stalls several calls in a row: neither
    is a periodic stall.

    Args:
        at_s: of the stalls.
        watched: starts of all calls.
        rate_hz: one over the period.
        middle: of the phase where the stalls meet, 0 to 1.
        share: of the period, how wide that phase is.
        tried: how many periods could have been taken.
    """
    turn = at_s * rate_hz - middle + 0.5
    inside = np.abs(turn % 1.0 - 0.5) <= share / 2
    turns, met = len(np.unique(np.floor(turn))), len(np.unique(np.floor(turn[inside])))
    view = watched * rate_hz - middle + 0.5
    seen = np.abs(view % 1.0 - 0.5) <= share / 2
    looked = len(np.unique(np.floor(view[seen])))
    crowd = len(at_s) / turns  # stalls in a turn: any of them may fall into the phase
    chance = min(1 - 1e-9, max(float(np.mean(seen)), share) * crowd)
    log = float(_log_chance(turns, np.array([met]), np.array([chance]))[0] + np.log(tried))
    if met < LEAST_STALLS or met < FILLED * looked or log >= 0:
        return []
    return [_Regular(1 / rate_hz, met, int(np.argmax(inside)), float(np.exp(log)))]


def _seconds(period_s: float) -> str:
    return f"{period_s:.2g} s" if period_s >= 1 else f"{1e3 * period_s:.3g} ms"

"""The result of a comparison with a stored baseline: one row per file and setup."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from edgekd.benchmarks.formatting import milliseconds, times
from edgekd.benchmarks.history.entry import Entry
from edgekd.benchmarks.history.guard import Limit
from edgekd.benchmarks.result import BenchResult
from edgekd.benchmarks.stats import Estimate, Steadiness
from edgekd.errors import CouldNotTell, WorseThanBaseline

Method = Literal["side by side", "across sessions", "none"]
Verdict = Literal[
    "slower",
    "slower, allowed",
    "too wide to tell",
    "not confirmed",
    "no difference",
    "faster",
    "unchanged",
    "throttled",
    "no steady state",
    "undecided",
]

PROOFS = 2  # sessions that must find a slow-down
MOST_SESSIONS = 3
_UNSURE = ("throttled", "no steady state", "too wide to tell")
_UNTOLD = (*_UNSURE, "not confirmed", "undecided")
"""The verdicts that tell neither that it passed nor that it failed."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One file in one setup beside its counterpart in the baseline."""

    label: str
    file: Path
    stored: str  # name of the counterpart when it was stored
    method: Method
    before_s: Estimate | None  # the counterpart: its copy timed today, or its stored sessions
    now_s: Estimate | None
    speedup: Estimate | None  # before / now; None: nothing to compare
    verdict: Verdict
    reason: str = ""  # why it is undecided; what else a reader must know


@dataclass(frozen=True)
class BaselineResult:
    """All rows, and the sessions that they rest on."""

    baseline: Entry
    rows: tuple[Comparison, ...]
    sessions: tuple[BenchResult, ...]  # in the order they were timed; none: nothing changed
    notes: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    """On size, memory and quality, if there are any."""

    @property
    def failed(self) -> bool:
        """Whether a slow-down was proven, or another limit is broken: exit code 1."""
        return self.proven_slower or any(limit.verdict == "failed" for limit in self.limits)

    @property
    def untold(self) -> tuple[str, ...]:
        """What could not be told, in words: exit code 3 if nothing failed."""
        rows = [
            f"{row.label}: {row.verdict}" + (f" ({row.reason})" if row.reason else "")
            for row in self.rows
            if row.verdict in _UNTOLD
        ]
        limits = [x for x in self.limits if x.verdict == "could not tell"]
        return (*rows, *(f"{x.label}: {x.what}: {x.reason}" for x in limits))

    @property
    def proven_slower(self) -> bool:
        """Whether a slow-down was proven: exit code 1."""
        return any(row.verdict == "slower" for row in self.rows)

    def check(self) -> None:
        """Do nothing if everything is proven to be within its limits.

        Raises:
            WorseThanBaseline: something is not; the message names it and by how much.
            CouldNotTell: nothing is proven to be worse, and not everything to be as good.
        """
        slower = [
            f"{row.label} takes {milliseconds(row.now_s)} and took {milliseconds(row.before_s)} "
            f"as the baseline, {times(row.speedup)} the speed"
            for row in self.rows
            if row.verdict == "slower" and row.now_s and row.before_s and row.speedup
        ]
        broken = [
            f"{limit.label}: {limit.what} is {limit.now}, was {limit.before}, {limit.allowed}"
            for limit in self.limits
            if limit.verdict == "failed"
        ]
        which = f"the baseline {self.baseline.name!r} of {self.baseline.stored_at:%Y-%m-%d}"
        if slower or broken:
            raise WorseThanBaseline(
                f"{'slower' if slower else 'worse'} than {which}: {'; '.join(slower + broken)}. "
                "Undo what made it so, or accept it: edgekd bench MODEL --store "
                f"{self.baseline.name}"
            )
        if self.untold:
            raise CouldNotTell(
                f"could not tell whether it is worse than {which}: {'; '.join(self.untold)}. "
                f"{self._advise()}"
            )

    def _advise(self) -> str:
        """Return what helps where something could not be told."""
        unsure = sum(row.verdict in (*_UNSURE, "not confirmed") for row in self.rows)
        cures = []
        if unsure:
            cures.append(
                "Give it more --time, on a machine that does nothing else, or a larger --allow"
            )
        if unsure < len(self.untold):
            cures.append(
                "What cannot be compared needs a new baseline, stored here: edgekd bench MODEL "
                f"--store {self.baseline.name}"
            )
        return ". ".join(cures)

    def to_json(self) -> dict[str, Any]:
        """Return everything, raw seconds of all sessions included, as plain JSON values."""
        return {
            "baseline": self.baseline.name,
            "stored_at": self.baseline.stored_at.isoformat(),
            "entry": self.baseline.id,
            "proven_slower": self.proven_slower,
            "failed": self.failed,
            "could_not_tell": list(self.untold),
            "limits": [asdict(limit) for limit in self.limits],
            "rows": [{**asdict(row), "file": str(row.file)} for row in self.rows],
            "notes": list(self.notes),
            "sessions": [session.to_json() for session in self.sessions],
        }


def verdict_of(speedup: Estimate, *states: Steadiness, allow: float = 0.0) -> Verdict:
    """Say what one session proves; `states` are those of all that it compares.

    With a tolerance, `allow` as a share, a slow-down is one that is larger. Then it must be shown
    that there is none: an interval that holds the tolerance is too wide.

    Where the speed changed meanwhile nothing is claimed, except for a slow-down that is larger than
    all that changed: a model that takes twice the time is found on a restless machine too.
    """
    least = 1 / (1 + allow)
    if all(state.enough for state in states) and speedup.high * _moved(states) < least:
        return "slower"
    if any(state.throttled for state in states):
        return "throttled"
    if not all(state.steady for state in states):
        return "no steady state"
    if speedup.low > 1:
        return "faster"
    if allow and speedup.low < least:
        return "too wide to tell"
    return "slower, allowed" if speedup.high < 1 else "no difference"


def _moved(states: Sequence[Steadiness]) -> float:
    """Return the factor of the largest change that was no warm-up; 1 if there was none."""
    events = [e for state in states if not state.steady or state.throttled for e in state.events]
    sizes = [abs(math.log1p(event.size)) for event in events if event.kind != "warm-up"]
    return math.exp(max(sizes, default=0.0))


def settled(found: Sequence[Sequence[Comparison]]) -> bool:
    """Return whether another session could change nothing; `found` contains the rows of each."""
    if len(found) >= MOST_SESSIONS:
        return True
    return all(_settled([row.verdict for row in rows]) for rows in zip(*found, strict=True))


def concluded(found: Sequence[Sequence[Comparison]]) -> tuple[Comparison, ...]:
    """Return one row for each that was compared in several sessions.

    A slow-down counts if two of at most three sessions prove it: a false alarm then needs two
    chance results twice. That costs the time of a second session only where there is something to
    confirm.
    """
    return tuple(_concluded(rows) for rows in zip(*found, strict=True))


def _settled(verdicts: Sequence[Verdict]) -> bool:
    slower = verdicts.count("slower")
    if slower >= PROOFS or slower + MOST_SESSIONS - len(verdicts) < PROOFS:
        return True
    # A row that no session found slower is done as soon as one session could decide.
    return not slower and any(verdict not in _UNSURE for verdict in verdicts)


def _concluded(rows: Sequence[Comparison]) -> Comparison:
    verdicts = [row.verdict for row in rows]
    slower = verdicts.count("slower")
    if slower >= PROOFS:
        last = max(i for i, verdict in enumerate(verdicts) if verdict == "slower")
        return rows[last]
    if not slower:
        told = [row for row in rows if row.verdict not in _UNSURE]
        return told[0] if told else rows[-1]
    reason = f"{slower} of {len(rows)} sessions found it slower, {PROOFS} are needed"
    return replace(rows[-1], verdict="not confirmed", reason=reason)

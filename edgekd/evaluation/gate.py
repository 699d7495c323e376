"""The gate: a step pays on the device that will run it, or it is rolled back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekd.benchmarks.stats import Estimate
from edgekd.options import Budget

Promise = Literal["faster", "smaller", "better"]
Outcome = Literal["kept", "rolled back", "skipped"]
"""Skipped: the step could do nothing for this network."""


@dataclass(frozen=True)
class Findings:
    """What the gate may look at: one stage on validation and on the device."""

    unit: str
    gain: Estimate
    """First metric since the teacher, paired by sample, on the file that the step itself made."""
    step_gain: Estimate
    """The same since the stage before."""
    speedup: Estimate | None
    """Against the stage before, from one interleaved session; None: the device gives no speed."""
    steady: bool
    shrink: float
    """Bytes before / bytes after."""


@dataclass(frozen=True)
class Verdict:
    """Kept, rolled back or skipped, with the numbers that decided."""

    outcome: Outcome
    reasons: tuple[str, ...] = ()
    numbers: str = ""

    @property
    def kept(self) -> bool:
        """Whether the next step starts from this stage."""
        return self.outcome == "kept"

    @property
    def text(self) -> str:
        """One line for people."""
        if not (self.reasons and self.numbers):
            return self.numbers or "; ".join(self.reasons)
        return f"{'; '.join(self.reasons)} ({self.numbers})"


def judge(promise: Promise, found: Findings, budget: Budget, *, gated: bool = True) -> Verdict:
    """Keep or roll back.

    The drop is the point estimate, or with `budget.strict` the far end of its interval. Speed
    counts only where it was measured; a promise of speed that could not be shown is not kept.
    """
    reasons: list[str] = []
    drop = -(found.gain.low if budget.strict else found.gain.value)
    if drop > budget.max_drop:
        reasons.append(f"{drop:.2f} {found.unit} lost, {budget.max_drop:g} allowed")
    reasons += _speed_faults(promise, found)
    if promise == "smaller" and found.shrink <= 1:
        reasons.append(f"not smaller: {1 / found.shrink:.2f} times the bytes")
    if promise == "better" and found.step_gain.low <= 0:
        reasons.append("not proven better")
    numbers = (
        f"{describe_speed(found.speedup)}, {found.gain.value:+.2f} {found.unit} since the teacher"
    )
    if reasons and not gated:
        return Verdict("kept", (*reasons, "kept because gate = false"), numbers)
    return Verdict("rolled back" if reasons else "kept", tuple(reasons), numbers)


def _speed_faults(promise: Promise, found: Findings) -> list[str]:
    speed = found.speedup
    if speed is None:  # quality alone decides; the report says that speed was not measured
        return []
    if speed.high < 1:
        return ["slower"]
    if promise == "faster" and not found.steady:
        return ["gain not shown: the device reached no steady state"]
    if promise == "faster" and speed.low <= 1:
        return ["gain not shown: the interval of the speed-up holds 1"]
    return []


def describe_speed(speed: Estimate | None) -> str:
    """Return a speed-up as people read it, no more digits than it deserves."""
    if speed is None:
        return "speed not measured"
    if speed.high < 1:
        return f"{1 / speed.value:.2f}x slower [{1 / speed.high:.2f}, {1 / speed.low:.2f}]"
    return f"{speed.value:.2f}x faster [{speed.low:.2f}, {speed.high:.2f}]"

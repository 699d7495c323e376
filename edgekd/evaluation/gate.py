"""The gate: keep a variant if it pays on the device (speed, size, quality), else drop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.stats import Estimate
from edgekd.options import Budget
from edgekd.tasks.task import Floor

Promise = Literal["faster", "smaller", "better"]
Outcome = Literal["kept", "rolled back", "skipped"]
"""Skipped: the step could do nothing for this network."""
Fault = Literal["quality", "size", "slower", "gain not shown"]
"""The kind of a reason against a variant."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The quality of one file on validation, as the budget looks at it."""

    unit: str
    gain: Estimate
    """First metric relative to the teacher, paired by sample."""
    floored: Mapping[Floor, Estimate] = field(default_factory=dict)
    """Metrics whose least value the budget says, by its key; then the gain decides nothing."""

    def faults(self, budget: Budget) -> list[str]:
        """Return in words what exceeds the budget.

        The drop is the point estimate, or with `budget.strict` the far end of its interval.
        """
        if self.floored:
            return [
                f"{describe_floor(key, value)}, at least {least:g} required"
                for key, least in budget.floors.items()
                for value in [self.floored[key].low if budget.strict else self.floored[key].value]
                if value < least
            ]
        drop = -(self.gain.low if budget.strict else self.gain.value)
        if drop <= budget.max_drop:
            return []
        return [f"{drop:.2f} {self.unit} lost, {budget.max_drop:g} allowed"]

    @property
    def text(self) -> str:
        """The quality for people."""
        if self.floored:
            return ", ".join(describe_floor(key, e.value) for key, e in self.floored.items())
        doubt = NO_DIFFERENCE if is_undecided(self.gain) else ""
        return f"{self.gain.value:+.2f} {self.unit} relative to the teacher{doubt}"


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The input of the gate: measurements of one variant, on validation and on one device."""

    variant: Variant
    device: str
    unit: str
    floored: Mapping[Floor, Estimate] = field(default_factory=dict)
    """Metrics whose least value the budget says, by its key; then the gain decides nothing."""
    gain: Estimate
    """First metric relative to the teacher, paired by sample, on the file the step itself made."""
    step_gain: Estimate
    """The same relative to the stage before."""
    compared: tuple[str, str]
    """The pair whose speed decides: label of the stage's file, of the file before."""
    speedup: Estimate | None
    """Of that pair, from one interleaved session; None: the device gives no speed."""
    steady: bool
    shrink: float
    """Bytes before / bytes after."""

    @property
    def quality(self) -> Quality:
        """What the budget looks at."""
        return Quality(unit=self.unit, gain=self.gain, floored=self.floored)

    @property
    def unusual_pair(self) -> str:
        """Which files the speed-up is of, where it is not the file of the stage against FP32."""
        return "" if self.compared == (self.variant, FP32) else name_pair(self.compared)


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """The decision about one variant, with its numbers."""

    variant: Variant
    kept: bool
    reasons: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    """The kinds of the reasons against it."""
    numbers: str
    not_measured_on: str = ""
    """The device or runtime that it is for, which is not here; "" where the gate's own decided."""

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{'; '.join(self.reasons)} ({self.numbers})" if self.reasons else self.numbers


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Kept, rolled back or skipped: a stage is kept with those of its variants that pay."""

    outcome: Outcome
    rulings: tuple[Ruling, ...] = ()
    """One for each variant that the step made; none where it was skipped."""
    skipped_because: str = ""
    dropped: tuple[str, ...] = ()
    """Variants that were made and failed before they could be judged, with the reason."""

    @property
    def kept(self) -> bool:
        """Whether the next step starts from this stage."""
        return self.outcome == "kept"

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants that may ship; the others are dropped."""
        return tuple(ruling.variant for ruling in self.rulings if ruling.kept)

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons why the stage, or a variant of it, is not kept."""
        if not self.rulings:
            return (self.skipped_because,)
        found = tuple(f"{self._name(r)}{reason}" for r in self.rulings for reason in r.reasons)
        return found + self.dropped

    @property
    def faults(self) -> frozenset[Fault]:
        """The kinds of what is against its variants."""
        return frozenset().union(*(ruling.faults for ruling in self.rulings))

    @property
    def text(self) -> str:
        """One line for people."""
        if not self.rulings:
            return self.skipped_because
        if not self._several:
            return self.rulings[0].text
        found = tuple(
            f"{ruling.variant} {'kept' if ruling.kept else 'dropped'}: {ruling.text}"
            for ruling in self.rulings
        )
        return "; ".join(
            (*found, *(reason.replace(": ", " not made: ", 1) for reason in self.dropped))
        )

    @property
    def _several(self) -> bool:
        return len(self.rulings) + len(self.dropped) > 1

    def _name(self, ruling: Ruling) -> str:
        return f"{ruling.variant}: " if self._several else ""


REFERENCE = Verdict(outcome="kept", rulings=(Ruling(variant=FP32, kept=True, numbers="reference"),))
"""The teacher's."""


def judge(
    promise: Callable[[Variant], Promise],
    findings: Sequence[Findings],
    budget: Budget,
    *,
    kept_because: str = "",
    others: Mapping[Variant, str] | None = None,
) -> Verdict:
    """Keep the variants that fulfil the promise of the step; roll the stage back if none is left.

    Args:
        promise: returns what the step promises of a variant.
        findings: one for each variant that it made, on the device that decides.
        budget: what may be lost.
        kept_because: why every variant is kept, whatever is against it, such as "gate = false".
        others: variants that are for a device or runtime which is not here, and its name: their
            speed decides nothing.
    """
    rulings = tuple(
        _rule(
            promise(found.variant),
            found,
            budget,
            kept_because=kept_because,
            other_device=(others or {}).get(found.variant, ""),
        )
        for found in findings
    )
    kept = any(ruling.kept for ruling in rulings)
    return Verdict(outcome="kept" if kept else "rolled back", rulings=rulings)


def _rule(
    promise: Promise, found: Findings, budget: Budget, *, kept_because: str, other_device: str
) -> Ruling:
    """Decide about one variant.

    Speed counts only where it was measured; a promise of speed that could not be shown is not
    kept.
    """
    against: list[tuple[Fault, str]] = [
        ("quality", reason) for reason in found.quality.faults(budget)
    ]
    against += [] if other_device else _speed_faults(promise, found)
    if promise == "smaller" and found.shrink <= 1:
        against.append(("size", f"not smaller: {1 / found.shrink:.2f} times the bytes"))
    if promise == "better" and found.step_gain.low <= 0:
        against.append(("quality", "not proven better"))
    reasons = [reason for _, reason in against]
    kept = not reasons or bool(kept_because)
    if reasons and kept:
        reasons.append(f"kept because {kept_because}")
    numbers = f"{_describe_pair(found)}, {found.quality.text}"
    if other_device and found.speedup is None:
        numbers = f"not measured on {other_device}, {found.quality.text}"
    elif other_device:
        numbers = f"not measured on {other_device}; on {found.device} {numbers}"
    return Ruling(
        variant=found.variant,
        kept=kept,
        reasons=tuple(reasons),
        faults=tuple(fault for fault, _ in against),
        numbers=numbers,
        not_measured_on=other_device,
    )


NO_DIFFERENCE = ", no difference shown"


def is_undecided(difference: Estimate) -> bool:
    """Return whether the interval of a difference includes 0: then no claim is made of it."""
    return difference.low <= 0 <= difference.high


def _describe_pair(found: Findings) -> str:
    """Return the speed-up with the files that it is of, where these are not both FP32."""
    pair = found.unusual_pair if found.speedup else ""
    return f"{describe_speed(found.speedup)}{f' ({pair})' if pair else ''}"


def name_pair(compared: tuple[str, str]) -> str:
    """Return which files a speed-up is of; "" for FP32 against FP32."""
    after, before = compared
    if after == before:
        return "" if after == FP32 else f"both {after}"
    return f"{after} against {before}"


FLOOR_METRICS: Mapping[Floor, str] = {"min_snr": "SNR", "min_agreement": "agreement"}
"""The metric that each floor is about."""


def describe_floor(key: Floor, value: float) -> str:
    """Return a value that has a floor, as people read it."""
    return f"SNR {value:.1f} dB" if key == "min_snr" else f"{value:.1f} % agreement"


def _speed_faults(promise: Promise, found: Findings) -> list[tuple[Fault, str]]:
    speed = found.speedup
    if speed is None:  # only quality decides; the report states that speed was not measured
        return []
    if speed.high < 1:
        return [("slower", "slower")]
    if promise == "faster" and not found.steady:
        return [("gain not shown", "gain not shown: the device reached no steady state")]
    if promise == "faster" and speed.low <= 1:
        reason = "gain not shown: the 95 % interval of the speed-up includes 1"
        return [("gain not shown", reason)]
    return []


def describe_speed(speed: Estimate | None) -> str:
    """Return a speed-up as people read it, no more digits than it deserves."""
    if speed is None:
        return "speed not measured"
    if speed.high < 1:
        return f"{1 / speed.value:.2f}x slower [{1 / speed.high:.2f}, {1 / speed.low:.2f}]"
    numbers = f"[{speed.low:.2f}, {speed.high:.2f}]"
    if speed.low == speed.high:
        return "equally fast"
    if speed.low <= 1:
        return f"no difference in speed shown, {speed.value:.2f}x {numbers}"
    return f"{speed.value:.2f}x faster {numbers}"

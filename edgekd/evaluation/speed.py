"""Decide which two files of a session are compared for the speed of a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.measurement import Measurement, Session
from edgekd.benchmarks.stats import Estimate, latency, noise_floor, pair_steadiness, speedup
from edgekd.benchmarks.stats.looks import error_of
from edgekd.evaluation.evidence import File
from edgekd.exporters.structure import same_structure

TOO_WIDE = 0.25
"""A speed-up whose interval includes 1 and is this wide is worth another session."""

LITTLE = 0.03
"""A speed-up whose whole interval is below 1 + this is not worth more minutes of timing."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The two files of a session whose speed decides about one variant."""

    after: File
    before: File
    speedup: Estimate | None
    """None: nothing was timed."""
    steady: bool
    """Whether both kept their speed against each other, unthrottled."""

    @property
    def doubtful(self) -> bool:
        """Whether it is worth another session: not steady, or too wide to decide."""
        speed = self.speedup
        if speed is None:
            return False
        undecided = speed.low <= 1 <= speed.high and speed.high / speed.low > 1 + TOO_WIDE
        return undecided or not self.steady

    @property
    def decided(self) -> bool:
        """Whether more rounds could hardly change what is claimed of it.

        It is also where the whole interval lies below a gain worth having. That adds no false
        claims: nothing is claimed then.
        """
        speed = self.speedup
        if speed is None or speed.low == speed.high:  # nothing is timed, or equal by definition
            return True
        includes_one = speed.low <= 1 <= speed.high
        return self.steady and (not includes_one or speed.high < 1 + LITTLE)


@dataclass(frozen=True, kw_only=True)
class SpeedComparison:
    """One session, and the pair that decides about each variant."""

    session: Session | None
    timed: Mapping[Path, Measurement]
    pairs: Mapping[Variant, Pair]
    floor: float | None
    """The noise floor of the session, from its A/A control."""

    @property
    def doubtful(self) -> bool:
        """Whether a pair is worth another session."""
        return any(pair.doubtful for pair in self.pairs.values())

    @property
    def decided(self) -> bool:
        """Whether every pair is."""
        return all(pair.decided for pair in self.pairs.values())


def compare_speed(
    session: Session,
    paths: Sequence[Path],
    makes: Sequence[Variant],
    *,
    after: Sequence[File],
    before: Sequence[File],
) -> SpeedComparison:
    """Choose the pair that decides about each variant, and compare its speed.

    A network is compared like with like: the fastest file of either side, previews included.
    Another variant is compared with the FP32 file that it was made from. One that was not timed,
    for its runtime is not here, has no speed.

    Args:
        session: the measurements of all files.
        paths: the files, in the session's order.
        makes: the variants to decide about.
        after: the files of the stage.
        before: the files of the stage before.
    """
    own = {f.variant: f for f in after if not f.preview}
    plain = next(f for f in before if f.variant == FP32 and not f.preview)
    if session.measurements[0].conditions.emulated:  # that proves function, never speed
        untimed = {v: Pair(after=own[v], before=plain, speedup=None, steady=True) for v in makes}
        return SpeedComparison(session=None, timed={}, pairs=untimed, floor=None)
    timed = dict(zip(paths, session.measurements, strict=True))
    floor, error = noise_floor(session), error_of(session)

    def pair(after: File, before: File) -> Pair:
        if after.path not in timed:
            return Pair(after=after, before=before, speedup=None, steady=True)
        return _pair(after, before, timed, floor=floor, error=error)

    decisive = {
        v: pair(own[v], plain)
        if v != FP32
        else pair(_fastest(after, timed), _fastest(before, timed))
        for v in makes
    }
    return SpeedComparison(session=session, timed=timed, pairs=decisive, floor=floor)


def _fastest(files: Sequence[File], timed: Mapping[Path, Measurement]) -> File:
    return min((f for f in files if f.path in timed), key=lambda f: latency(timed[f.path]).value)


def _pair(
    after: File, before: File, timed: Mapping[Path, Measurement], *, floor: float, error: float
) -> Pair:
    state = pair_steadiness(timed[before.path], timed[after.path], floor=floor)
    return Pair(
        after=after,
        before=before,
        speedup=_speedup(before.path, after.path, timed, floor=floor, error=error),
        steady=state.steady and not state.throttled,
    )


def _speedup(
    before: Path, after: Path, timed: Mapping[Path, Measurement], *, floor: float, error: float
) -> Estimate:
    if same_structure(before, after):  # equal graphs are equally fast by definition
        return Estimate(1.0, 1.0, 1.0, len(timed[after].runs))
    return speedup(timed[before], timed[after], floor=floor, error=error)

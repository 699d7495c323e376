"""Compare with a stored baseline: prove a slow-down, or claim nothing.

Where the bytes differ, the stored file itself is timed again, side by side with the new one and
under today's conditions: the difference is then that of the files alone. Where they do not (only
the runtime was changed, say), or the stored file was too large to keep, sessions are compared
unpaired, against what sessions of this machine differ by anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from edgekd.benchmarks.bench import Inputs, Measurer, bench
from edgekd.benchmarks.history.across import compare_across, differences, unchanged
from edgekd.benchmarks.history.comparison import (
    BaselineResult,
    Comparison,
    concluded,
    settled,
    verdict_of,
)
from edgekd.benchmarks.history.entry import Entry, StoredRow
from edgekd.benchmarks.history.guard import (
    Guard,
    Limit,
    check_memory,
    check_quality,
    check_size,
)
from edgekd.benchmarks.history.store import History
from edgekd.benchmarks.input_shapes import difference
from edgekd.benchmarks.measurement import Conditions, Setup, Timing
from edgekd.benchmarks.model_content import model_content
from edgekd.benchmarks.result import BenchResult, Row
from edgekd.benchmarks.stats import pair_steadiness, speedup
from edgekd.errors import HistoryError
from edgekd.progress import Share, part_of

_SHARES = ((0.0, 0.8), (0.8, 0.1), (0.9, 0.1))
"""Start and length of each session on the progress bar: a second one is rare."""


class Machine(Measurer, Protocol):
    """The part of a device that is used here (`edgekd.devices.open_device`)."""

    def conditions(self, setup: Setup) -> Conditions:
        """Say who it is and how it would run a file."""

    def run(self, file: Path, feeds: Path) -> dict[str, NDArray[Any]]:
        """Run a file once per call in `feeds`; return its outputs by name, calls first."""


def against(  # noqa: PLR0913  what is compared, how it is timed, and what it may cost
    history: History,
    name: str,
    files: Sequence[Path | str],
    *,
    device: Machine,
    setups: Sequence[Setup] = (Setup(),),
    timing: Timing | None = None,
    inputs: Inputs | None = None,
    guard: Guard | None = None,
    progress: Share | None = None,
) -> BaselineResult:
    """Compare files with the session that was stored last under a name.

    Args:
        history: where it was stored.
        name: under which it was stored.
        files: each is compared with the stored file of its name.
        device: where; `edgekd.devices.open_device("local")`.
        setups: as `bench` takes them.
        timing: of one session. A slow-down must be proven by two of at most three.
        inputs: as `bench` takes them; default: the stored real inputs, else random ones.
        guard: what a file may cost; default: no slow-down, and nothing else is looked at.
        progress: called with the share that is done, 0 to 1.

    Raises:
        HistoryError: the history cannot be used, or contains no counterpart.
        EdgekdError: whatever `bench` raises.
    """
    baseline = history.latest(name)
    guard = guard or Guard()
    pairs = _pairs(baseline, [Path(file) for file in files], unlike_names=guard.unlike_names)
    given = _inputs(history, baseline, inputs)
    work = _Work(
        history=history,
        baseline=baseline,
        device=device,
        setups=setups,
        timing=timing or Timing(),
        inputs=given,
        guard=guard,
    )
    tell = progress or (lambda _: None)
    rows: list[Comparison] = []
    sessions: list[BenchResult] = []
    limits: list[Limit] = []
    for done, (file, stored) in enumerate(pairs):
        share = part_of(tell, done / len(pairs), 1 / len(pairs))
        quality = work.check_quality(file, stored[0])  # a fault in labels is found before timing
        found, timed = work.compare(file, stored, share)
        rows += found
        sessions += timed
        limits += work.check_costs(file, stored[0], timed[-1] if timed else None)
        limits += quality
    tell(1.0)
    notes = _notes(baseline, sessions)
    return BaselineResult(baseline, tuple(rows), tuple(sessions), notes, tuple(limits))


def _pairs(
    baseline: Entry, files: Sequence[Path], *, unlike_names: bool
) -> list[tuple[Path, list[StoredRow]]]:
    """Give each file its counterpart: the stored rows of one file."""
    groups: dict[tuple[str, str], list[StoredRow]] = {}
    for row in baseline.rows:
        groups.setdefault((row.file, row.content), []).append(row)
    stored = list(groups.values())
    by_name = {rows[0].file: rows for rows in stored}
    if len(by_name) == len(stored) and files and all(file.name in by_name for file in files):
        return [(file, by_name[file.name]) for file in files]
    if unlike_names and len(files) == len(stored):
        return list(zip(files, stored, strict=True))
    raise HistoryError(
        f"the baseline {baseline.name!r} contains {', '.join(rows[0].file for rows in stored)}, "
        f"and got {', '.join(map(str, files)) or 'no file'}; give files of the same names. If "
        "other names are meant, give as many in the same order, with --unlike-names"
    )


def _inputs(history: History, baseline: Entry, inputs: Inputs | None) -> Inputs:
    given = inputs or Inputs()
    asked = given.feeds is not None or given.shapes or given.calls != (1,)
    if asked or baseline.feeds_sha256 is None:
        return given
    return replace(given, feeds=history.copy(baseline.feeds_sha256))


def _notes(baseline: Entry, sessions: Sequence[BenchResult]) -> tuple[str, ...]:
    if not sessions:
        return ()
    last = sessions[-1]
    then, now = baseline.rows[0].conditions, last.rows[0].conditions
    changed = differences(then, now)
    if then.machine != now.machine:
        changed.insert(0, f"stored on another machine ({then.cpu}, {then.os})")
    notes = [f"conditions have changed: {'; '.join(changed)}"] if changed else []
    missing = {name: why for session in sessions for name, why in session.unavailable.items()}
    return (*notes, *(f"{name}: {why}" for name, why in missing.items()))


@dataclass(frozen=True, kw_only=True)
class _Work:
    history: History
    baseline: Entry
    device: Machine
    setups: Sequence[Setup]
    timing: Timing
    inputs: Inputs
    guard: Guard

    def check_costs(self, file: Path, before: StoredRow, result: BenchResult | None) -> list[Limit]:
        """Return the limits on size and memory, after it was timed."""
        copy, size_bytes = self._stored(file, before), model_content(file).size_bytes
        return [
            *check_size(self.guard, file.name, before, size_bytes),
            *check_memory(self.guard, file.name, copy, result),
        ]

    def check_quality(self, file: Path, before: StoredRow) -> list[Limit]:
        """Return the limits on quality, from the answers of both files."""
        if not self.guard.runs or not before.not_kept:
            pair = (self._stored(file, before) or file, file)
            return list(
                check_quality(self.guard, file.name, pair, self.inputs.feeds, self.device.run)
            )
        return [
            Limit(
                label=file.name,
                what="quality",
                before="",
                now="",
                allowed="",
                verdict="could not tell",
                reason=f"the stored file was not kept ({before.not_kept})",
            )
        ]

    def _stored(self, file: Path, before: StoredRow) -> Path | None:
        """Return the copy of the stored file; None where there is none, or the bytes are equal."""
        equal = model_content(file).key == before.content
        return None if equal or before.not_kept else self.history.copy(before.content)

    def compare(
        self, file: Path, stored: Sequence[StoredRow], tell: Share
    ) -> tuple[tuple[Comparison, ...], list[BenchResult]]:
        """Time a file as often as it takes to be sure."""
        before = stored[0]
        equal = model_content(file).key == before.content
        if equal and self._as_before(stored):
            plain = Comparison(
                label=file.name,
                file=file,
                stored=before.file,
                method="none",
                before_s=None,
                now_s=None,
                speedup=None,
                verdict="unchanged",
            )
            return (unchanged(plain),), []
        copy = None if equal or before.not_kept else self.history.copy(before.content)
        results: list[BenchResult] = []
        found: list[list[Comparison]] = []
        while not found or not settled(found):
            result = self._bench(file, copy, len(found), tell)
            results.append(result)
            if copy is not None:
                allow = self.guard.slower
                found.append(side_by_side(file, before.file, copy, result, allow=allow))
            else:
                entries = self.history.entries(self.baseline.name)
                found.append(
                    compare_across(
                        file, stored, result, entries, equal=equal, allow=self.guard.slower
                    )
                )
        return concluded(found), results

    def _as_before(self, stored: Sequence[StoredRow]) -> bool:
        """Say whether every setup was stored under just the conditions of today."""
        today = [self.device.conditions(setup) for setup in self.setups]
        return all(any(row.conditions == now for row in stored) for now in today)

    def _bench(self, file: Path, copy: Path | None, number: int, tell: Share) -> BenchResult:
        start, length = _SHARES[number]
        return bench(
            [file],
            vs=copy,
            device=self.device,
            setups=self.setups,
            timing=self.timing,
            inputs=self.inputs,
            strict=True,
            progress=part_of(tell, start, length),
        )


def side_by_side(
    file: Path, name: str, copy: Path, result: BenchResult, *, allow: float = 0.0
) -> list[Comparison]:
    """Compare a file with the stored copy in the same setup, both timed in one session.

    Args:
        file: the new one.
        name: of the stored one.
        copy: the stored one.
        result: of both.
        allow: how much slower the new one may be, as a share.
    """
    session = result.session
    timed = list(zip(result.rows, session.measurements, strict=True))
    comparisons = []
    for row, measured in timed:
        if row.file != file:
            continue
        call = (row.conditions, row.batch)
        same = (pair for pair in timed if pair[0].file == copy)
        before = next((pair for pair in same if (pair[0].conditions, pair[0].batch) == call), None)
        if before is None or difference(row, before[0]):
            why = _uncompared(row, [pair[0] for pair in timed if pair[0].file == copy])
            comparisons.append(
                Comparison(
                    label=row.label,
                    file=file,
                    stored=name,
                    method="none",
                    before_s=None,
                    now_s=row.latency_s,
                    speedup=None,
                    verdict="undecided",
                    reason=why,
                )
            )
            continue
        old, reference = before
        gain = speedup(reference, measured, floor=result.floor)
        state = pair_steadiness(reference, measured, floor=result.floor)
        verdict = verdict_of(gain, state, allow=allow)
        comparisons.append(
            Comparison(
                label=row.label,
                file=file,
                stored=name,
                method="side by side",
                before_s=old.latency_s,
                now_s=row.latency_s,
                speedup=gain,
                verdict=verdict,
            )
        )
    return comparisons


def _uncompared(row: Row, stored: Sequence[Row]) -> str:
    """Say why a row has no counterpart among those of the stored file."""
    alike = [other for other in stored if other.conditions == row.conditions]
    if not alike:
        return "the stored file cannot be run in this setup"
    return f"{difference(row, alike[0])}; unlike inputs are not compared"

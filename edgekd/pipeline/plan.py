"""What a run would be, before it is: stages in order, shapes, minutes, disk.

The minutes are extrapolated from a rehearsal in a temporary folder; what it does not time is
assumed, and the plan says what.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.pipeline.preflight import Sketch, sketch
from edgekd.pipeline.rehearsal import Rehearsed, rehearse
from edgekd.pipeline.setup import Bench, check_owner, set_up
from edgekd.progress import Progress, Silent
from edgekd.recipe.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

PROCESS_S = 0.6
"""Assumed: one fresh process that imports ONNX Runtime, loads a file and warms up."""
WRITE_S = 15.0
"""Assumed: intervals of the metrics, report, bundle and the last checks."""
REPORT_BYTES = 3_000_000
"""Assumed: the report with its pictures, and what was measured."""


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage and the seconds of its parts."""

    title: str
    training_s: float
    export_s: float
    quantize_s: float
    quality_s: float
    """Its files on the validation split."""
    measure_s: float
    """From the timing options and `PROCESS_S`."""

    @property
    def seconds(self) -> float:
        """All parts."""
        return self.training_s + self.export_s + self.quantize_s + self.quality_s + self.measure_s


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would be from nothing: what its folder holds already is not taken off."""

    name: str
    folder: str
    device: str
    splits: Mapping[str, int]
    skipped: int
    """Samples that cannot be read and are left out."""
    networks: tuple[Sketch, ...]
    stages: tuple[StagePlan, ...]
    closing_s: float
    """The last session, the test split, report and bundle."""
    disk_bytes: int

    @property
    def seconds(self) -> float:
        """The whole run."""
        return sum(stage.seconds for stage in self.stages) + self.closing_s

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        stages = [{**asdict(stage), "seconds": stage.seconds} for stage in self.stages]
        assumed = {"process_s": PROCESS_S, "write_s": WRITE_S, "report_bytes": REPORT_BYTES}
        return {**asdict(self), "stages": stages, "seconds": self.seconds, "assumed": assumed}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Show it in a terminal."""
        from edgekd.report.run.plan import blocks

        yield from blocks(self.to_json())


def plan(recipe: Recipe, *, root: Path, folder: Path, progress: Progress | None = None) -> Plan:
    """Rehearse `recipe` and say what its run in `folder` would be; nothing is written there.

    Raises:
        BadInput: as `compress` would, and for what only a rehearsal finds before an hour has
            passed, such as a network that cannot be exported.
    """
    check_owner(recipe, folder)
    listener = progress or Silent()
    bench = set_up(recipe, root=root, folder=folder, progress=listener, export=False)
    networks = sketch(recipe, bench.context(None))
    done = []
    with tempfile.TemporaryDirectory(prefix="edgekd-plan-") as scratch:
        stand_in = replace(bench, folder=Path(scratch))
        stand_in.stages.mkdir()
        with bench.progress.track("rehearse every stage", 1 + len(recipe.steps)) as tick:
            for stage in rehearse(stand_in):
                done.append(stage)
                tick(1, stage.title)
    largest = max(stage.size_bytes for stage in done)
    return Plan(
        name=recipe.name,
        folder=str(folder),
        device=bench.device.name,
        splits={name: len(indices) for name, indices in vars(bench.splits).items()},
        skipped=len(bench.dataset.skipped),
        networks=networks,
        stages=tuple(_stage(bench, done, i) for i in range(len(done))),
        closing_s=_closing_s(bench, done),
        # the bundle has the files of one stage, and each of them again with batch 1 fixed
        disk_bytes=sum(stage.size_bytes for stage in done) + 2 * largest + REPORT_BYTES,
    )


def _stage(bench: Bench, done: list[Rehearsed], i: int) -> StagePlan:
    stage = done[i]
    rivals = [*([done[i - 1]] * done[i - 1].files if i else []), done[0]]
    return StagePlan(
        title=stage.title,
        training_s=stage.training_s,
        export_s=stage.export_s,
        quantize_s=stage.quantize_s,
        quality_s=stage.files * stage.sample_s * bench.data.count("validation"),
        measure_s=_session_s(bench, [*([stage] * stage.files), *(rivals if i else [])]),
    )


def _session_s(bench: Bench, files: list[Rehearsed]) -> float:
    """Return the seconds of one interleaved session; its first file runs twice, for the noise."""
    timing = bench.timing
    process_s = [
        PROCESS_S + timing.warmup_s + timing.blocks * max(timing.block_s, file.sample_s)
        for file in [*files, files[0]]
    ]
    return min(timing.rounds * sum(process_s), timing.time_limit_s + sum(process_s))


def _closing_s(bench: Bench, done: list[Rehearsed]) -> float:
    answers_s = sum(stage.files * stage.sample_s for stage in done) * len(bench.splits.test)
    return _session_s(bench, done) + answers_s + WRITE_S

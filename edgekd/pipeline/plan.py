"""`--dry-run`: the stages of a run in order, with shapes, minutes and disk space.

The minutes are extrapolated from a rehearsal in a temporary folder; what it does not time is
assumed, and the plan names it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Group

from edgekd.evaluation.forecast import Assumed, Forecast, NetworkForecast, StagePlan
from edgekd.networks.bounded import Peak, free_bytes, watch_peak
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.preflight import forecast_networks
from edgekd.pipeline.rehearsal import Rehearsed, rehearse
from edgekd.pipeline.run_folder import check_owner
from edgekd.pipeline.setup import set_up
from edgekd.progress import Progress, Silent
from edgekd.recipe.recipe import Recipe
from edgekd.report.run.notebook import as_plain_text
from edgekd.report.run.plan import blocks
from edgekd.wording import speaking_of

ASSUMED = Assumed()


@dataclass(frozen=True, kw_only=True, repr=False)
class Plan(Forecast):
    """What a run would be: `networks`, `stages`, `seconds`, `disk_bytes`, `memory_bytes`."""

    def __rich__(self) -> Group:
        """Show it with `rich.print`."""
        return Group(*blocks(self))

    def __repr__(self) -> str:
        """Show it as text."""
        return as_plain_text(self.__rich__())


def plan(recipe: Recipe, *, root: Path, folder: Path, progress: Progress | None = None) -> Plan:
    """Rehearse `recipe` and return what its run in `folder` would be; nothing is written there.

    Raises:
        BadInput: as `compress` would, and for what only a rehearsal finds before an hour has
            passed, such as a network that cannot be exported.
    """
    with watch_peak() as peak:
        return _rehearsed(recipe, root=root, folder=folder, progress=progress, peak=peak)


def _rehearsed(
    recipe: Recipe,
    *,
    root: Path,
    folder: Path,
    progress: Progress | None,
    peak: Callable[[], Peak],
) -> Plan:
    check_owner(recipe, folder)
    listener = progress or Silent()
    with speaking_of(step.name for step in recipe.steps):
        bench = set_up(recipe, root=root, folder=folder, progress=listener, export=False)
        quiet = replace(bench, progress=Silent())  # what there is to tell was told in the set-up
    networks = forecast_networks(recipe, quiet.context(None))
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
        disk_bytes=sum(stage.size_bytes for stage in done) + 2 * largest + ASSUMED.report_bytes,
        memory_bytes=_memory_bytes(networks, peak()),
        free_bytes=free_bytes(),
        assumed=ASSUMED,
    )


def _memory_bytes(networks: Sequence[NetworkForecast], peak: Peak) -> int:
    """Return the most of the whole process: the rehearsal did an export and a step of each."""
    training = max((network.training_bytes for network in networks), default=0)
    return max(peak.most_bytes, peak.held_bytes + training)


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
        ASSUMED.process_s + timing.warmup_s + timing.blocks * max(timing.block_s, file.sample_s)
        for file in [*files, files[0]]
    ]
    return min(timing.rounds * sum(process_s), timing.time_limit_s + sum(process_s))


def _closing_s(bench: Bench, done: list[Rehearsed]) -> float:
    answers_s = sum(stage.files * stage.sample_s for stage in done) * len(bench.splits.test)
    return len(bench.places) * _session_s(bench, done) + answers_s + ASSUMED.write_s

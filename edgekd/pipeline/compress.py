"""A run: do the steps, let the gate decide which stay, write what ships."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Group

from edgekd.artifact import Artifact
from edgekd.errors import NothingToDo, RunFolderError, one_line, require
from edgekd.evaluation.examiner import Examiner
from edgekd.evaluation.gate import REFERENCE, Verdict, judge
from edgekd.evaluation.record import Record, with_time_of
from edgekd.networks.bounded import watch_peak
from edgekd.pipeline.audit.run import audit_for_run
from edgekd.pipeline.baseline import warn_of_teacher
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.deliver import deliver
from edgekd.pipeline.exported_stage import make_stage, make_teacher
from edgekd.pipeline.final import TEACHER, Rung, judge_on_test, measure_finalists
from edgekd.pipeline.live_curves import LiveCurves
from edgekd.pipeline.memory import keep_peak
from edgekd.pipeline.record import record
from edgekd.pipeline.run_folder import check_owner, claim
from edgekd.pipeline.setup import set_up
from edgekd.progress import Progress, Silent
from edgekd.quantization.quantized import read_dropped
from edgekd.recipe.recipe import Recipe, titled
from edgekd.report.run.notebook import Plot, as_html, as_plot, as_rows, as_text, shown
from edgekd.step import Context, Step
from edgekd.store import run_lock
from edgekd.wording import speaking_of


@dataclass(frozen=True)
class Result:
    """The result of a run."""

    folder: Path
    record: Record
    one_file: bool = False
    """Whether one file was asked for; then the run folder is gone."""
    file: Path | None = None
    """That file; None where nothing was kept, or a whole run was asked for."""
    why: Path | None = None
    """The report beside it, where nothing was kept."""

    @property
    def bundle(self) -> Path:
        """The folder to ship."""
        return self.folder / "bundle"

    @property
    def report(self) -> Path:
        """The page to show."""
        return self.why or self.folder / "report.html"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The ladder as rows, for a frame: one for each file that a stage made.

        `stage`, `variant`, `kept`, `ships`, `why` (the verdict); the first metric under its
        own name (percent, on validation), `difference` from the teacher (points, paired by sample),
        `size_bytes`, `latency_s` (seconds of a call, on the first device) and `speedup` against the
        teacher's FP32 file. Each number but the size has a 95 % interval: `..._low`, `..._high`.
        None: not measured.
        """
        return as_rows(self.record)

    def plot(self) -> Plot:
        """Return a drawing of quality against latency, which a notebook shows.

        Raises:
            MeasureError: no latency was measured.
        """
        return as_plot(self.record)

    @property
    def where(self) -> str:
        """The paths of the results, as a line."""
        if self.record.quick:
            return f"report {self.report}   no bundle"
        if not self.one_file:
            return f"bundle {self.bundle}   report {self.report}"
        if self.file is None:
            return (
                "no file was written: nothing was kept that is better than the model itself; the "
                f"measurements are in {self.why}"
            )
        return f"wrote {self.file}"

    @property
    def over_budget(self) -> str | None:
        """Why the file that ships exceeds max_latency; None if it does not, or nothing ships."""
        return None if self.record.quick else self.record.over_budget

    def __rich__(self) -> Group:
        """Show the ladder with `rich.print`."""
        return shown(self.record)

    def __repr__(self) -> str:
        """Show the ladder as text."""
        return f"{as_text(self.record)}\n{self.where}"

    def _repr_html_(self) -> str:
        return as_html(self.record)


def compress(
    recipe: Recipe,
    *,
    root: Path,
    out: Path,
    progress: Progress | None = None,
    command: str = "",
) -> Result:
    """Run `recipe` in the folder `out`; finished stages are reused.

    Raises:
        BadInput: the recipe, the data or the model is wrong; nothing is half-written.
        JobFailed: a process under test crashed.
    """
    if recipe.trains:
        for package in ("torch", "onnxscript", "safetensors"):
            require(package, extra="train")
    listener = progress or Silent()
    names = [step.name for step in recipe.steps]
    with run_lock(out), speaking_of(names), watch_peak() as peak:
        _check_owner(recipe, root=root, out=out)
        start = time.monotonic()
        bench = set_up(recipe, root=root, folder=out, progress=listener)
        claim(bench, command=command)
        bench.log.add("prepare", time.monotonic() - start)
        live = LiveCurves(recipe.name, out, bench.log, tensorboard=recipe.tensorboard)
        bench = replace(bench, live=live)
        rungs = run_steps(bench)
        live.close()
        final = measure_finalists(bench, rungs)
        test = judge_on_test(bench, rungs)
        most = keep_peak(out, peak())
        found = record(bench, rungs, final, test, command=command, peak=most)
        found = with_time_of(found, out)
        deliver(bench, rungs, found)
        return Result(out, found)


def _check_owner(recipe: Recipe, *, root: Path, out: Path) -> None:
    """Refuse a folder that is another run's; a fault of the data or the model is told first.

    Another folder would not cure that.
    """
    try:
        check_owner(recipe, out)
    except RunFolderError:
        with TemporaryDirectory(prefix="edgekd-") as scratch:
            set_up(recipe, root=root, folder=Path(scratch), progress=Silent(), export=False)
        raise


def run_steps(bench: Bench) -> tuple[Rung, ...]:
    """Run every step from the last kept stage; the first rung is the teacher."""
    first = bench.recipe.working_teacher
    bench.log.stage = TEACHER
    teacher = make_teacher(bench)
    examiner = bench.examiner(teacher)
    evidence = examiner.examine(teacher, teacher, name=first.name, makes=first.makes)
    rungs = [Rung(TEACHER, teacher, evidence, REFERENCE)]
    if warning := warn_of_teacher(bench, teacher):
        bench.progress.say(f"warning: {warning}")
    audit_for_run(bench, teacher)
    best, context = teacher, bench.context(teacher)
    for title, step in titled(bench.recipe.working_steps):
        bench.log.stage = title
        rung = _climb_one(bench, examiner, title, step, best, context)
        rungs.append(rung)
        best = rung.artifact if rung.verdict.kept else best
    return tuple(rungs)


def _climb_one(
    bench: Bench,
    examiner: Examiner,
    title: str,
    step: Step,
    best: Artifact,
    context: Context,
) -> Rung:
    try:
        after = make_stage(bench, step, best, context)
    except NothingToDo as signal:
        verdict = Verdict(outcome="skipped", skipped_because=one_line(signal))
        rung = Rung(title, best, None, verdict)
    else:
        makes = tuple(variant for variant in step.makes if variant in after.variants)
        evidence = examiner.examine(after, best, name=step.name, makes=makes)
        why = "" if step.gate else "gate = false"
        why = "this is a quick look" if bench.recipe.quick else why
        verdict = judge(
            step.promise_of,
            evidence.findings,
            bench.recipe.budget,
            kept_because=why,
            others={v: step.other_device or examiner.find_home(v) for v in makes},
        )
        verdict = replace(verdict, dropped=read_dropped(after.folder))
        rung = Rung(title, after, evidence, verdict)
    bench.progress.say(f"{title}: {rung.verdict.outcome}: {rung.verdict.text}")
    return rung

"""The student that flags alone give, on five small real sets, beside a named one of equal size.

    python -m edgekd.benchmarks.trials.default_student --json default-student.json

For each set: the teacher is trained in the run; `default` is what `--model --data` derive from it;
`plain` is a named network of about as many multiplications, trained from its own start for as many
epochs with the same terms and the same cache. All answer the whole test split, which no decision
used. Differences are paired by sample and have 95 % intervals. Times are processor seconds, since
other programs do not count in them. Run folders are kept (--runs): what is finished is not done
again, and an interrupted training goes on. `edgekd data mnist5k fashion-mnist cifar10
efficientnet-lite0 reuters-r8 minilm-l6` fetches the data; the Debian package freepats has the
sounds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgekd.artifact import FP32, Artifact
from edgekd.benchmarks.trials.report import conclude
from edgekd.data.downloads import fetch
from edgekd.errors import NothingToDo
from edgekd.evaluation.quality import estimate, estimate_gain
from edgekd.exporters.model_stats import facts
from edgekd.pipeline.bench import Bench
from edgekd.pipeline.export import Export
from edgekd.pipeline.setup import set_up
from edgekd.pipeline.stage import run_step
from edgekd.progress import Silent
from edgekd.recipe.from_flags import make_recipe_table
from edgekd.recipe.recipe import parse_recipe
from edgekd.step import Step
from edgekd.store import write_json

FEW = "edgekd.benchmarks.trials.trained.few"
NETWORKS = "edgekd.benchmarks.trials.trained.networks"
MOST_LOST, MOST_TIME = 2.0, 3.0
"""Points that the default student may lose, and how much longer than its teacher it may take."""
PLAIN_RATE = 1e-3
"""Learning rate of a named student by flags."""


@dataclass(frozen=True)
class Set:
    """The flags of a run, and the network that a person might name as the student."""

    model: str
    data: str
    plain: str
    epochs: int = 20
    more: Mapping[str, Any] = field(default_factory=dict)


SETS = {
    "digits": Set(f"{FEW}:digits_teacher", "mnist5k", f"{FEW}:digits_plain"),
    "fashion": Set(f"{FEW}:fashion_teacher", f"{FEW}:fashion", f"{FEW}:fashion_plain"),
    "sounds": Set(
        f"{NETWORKS}:sound_network",
        "edgekd.benchmarks.trials.trained.sounds:pitches",
        f"{FEW}:sounds_plain",
    ),
    "photos": Set(
        f"{FEW}:photos_teacher",
        f"{FEW}:photos",
        f"{FEW}:photos_plain",
        epochs=8,
        more={"size": "64", "normalize": "127,128"},
    ),
    "texts": Set(
        f"{NETWORKS}:minilm_whole",
        "edgekd.benchmarks.trials.trained.texts:reuters_r8",
        f"{NETWORKS}:minilm",
        epochs=3,
        more={"max_length": 64},
    ),
}


@dataclass(frozen=True)
class Row:
    """One student of one set."""

    set: str
    student: str
    teacher: float
    """Accuracy in percent on the test split."""
    accuracy: float | None
    samples: int
    macs: float | None
    """Share of the teacher's multiplications."""
    lost: tuple[float, float, float] | None
    """Points: value, low, high."""
    time: float | None
    """Processor seconds of its training, over the teacher's."""
    notes: str = ""


def main() -> int:
    """Run all, or those named; return 1 if a default student loses or takes more than it may."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--runs", type=Path, default=Path("runs/default-student"))
    parser.add_argument("--epochs", type=int, help="of each teacher, instead of its own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the table to this file")
    given = parser.parse_args()
    rows: list[Row] = []
    for name in given.only:
        rows += measure(name, given.runs, epochs=given.epochs, seed=given.seed)
        show(rows, given.json)
    return int(any(row.student == "default" and not holds(row) for row in rows))


def holds(row: Row) -> bool:
    """Whether a student loses and takes no more than it may."""
    return (
        row.lost is not None
        and row.lost[0] <= MOST_LOST
        and row.time is not None
        and row.time <= MOST_TIME
    )


def show(rows: list[Row], target: Path | None) -> None:
    """Print the table so far, and store it."""
    columns = ["set", "student", "teacher %", "student %", "MACs", "points lost", "time", "notes"]
    shown = [
        [
            *(row.set, row.student, f"{row.teacher:.2f}", _text(row.accuracy, ".2f")),
            _text(row.macs, ".0%"),
            f"{row.lost[0]:+.2f} [{row.lost[1]:+.2f}, {row.lost[2]:+.2f}]" if row.lost else "",
            *(_text(row.time, ".1f"), row.notes),
        ]
        for row in rows
    ]
    content = {"rows": [asdict(row) for row in rows]}
    conclude("students of half the multiplications", columns, shown, content, target)


def _text(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def measure(name: str, runs: Path, *, epochs: int | None, seed: int) -> list[Row]:
    """Return the rows of a set; what is in its run folder already is not done again."""
    chosen, folder = SETS[name], runs / f"{name}-{seed}"
    more = dict(chosen.more)
    if name == "texts":
        more["tokenizer"] = str(fetch("minilm-l6") / "tokenizer.json")
    table = make_recipe_table(
        model=chosen.model,
        data=chosen.data,
        epochs=epochs or chosen.epochs,
        only="distill",
        name=f"default-student-{name}",
        **more,
    )
    table["seed"] = seed
    (default,) = table["steps"]
    plain = {**default, "student": {"build": chosen.plain}}
    own = {key: value for key, value in table["model"].get("input", {}).items() if key != "size"}
    if own:  # at the size of the pictures
        plain["student"]["input"] = own
    plain["train"] = {**default["train"], "learning_rate": PLAIN_RATE}
    recipe = parse_recipe({**table, "steps": [default, plain]}, origin=name)
    bench = set_up(recipe, root=Path.cwd(), folder=folder, progress=Silent(), export=False)
    bench.stages.mkdir(parents=True, exist_ok=True)
    teacher = _stage(bench, recipe.working_teacher, Artifact(folder, {}), None, "teacher")
    return [
        _row(name, label, bench, step, teacher)
        for label, step in zip(("default", "plain"), recipe.working_steps, strict=True)
    ]


def _stage(
    bench: Bench, step: Step, source: Artifact, teacher: Artifact | None, label: str
) -> Artifact:
    context = bench.context(teacher)
    with _timed(bench.folder / f"seconds-{label}.json"):
        done = run_step(step, source, context, bench.stages)
    export = Export(opset=bench.recipe.export.opset)
    return run_step(export, done, context, bench.stages)


@contextmanager
def _timed(path: Path) -> Iterator[None]:
    """Add the processor seconds of what runs inside to those of earlier tries."""
    start = time.process_time()
    try:
        yield
    finally:
        spent = time.process_time() - start
        if spent > 1 or not path.exists():  # else it was there already
            write_json(path, _seconds(path) + spent)


def _seconds(path: Path) -> float:
    return float(json.loads(path.read_text(encoding="utf8"))) if path.exists() else 0.0


def _row(name: str, label: str, bench: Bench, step: Step, teacher: Artifact) -> Row:
    held_out, metric = bench.held_out(teacher), bench.task.metrics[0]
    base = held_out.reduced(teacher, teacher.onnx(FP32))
    whole = estimate(metric, base)
    try:
        student = _stage(bench, step, teacher, teacher, label)
    except NothingToDo as signal:
        return Row(name, label, whole.value, None, whole.n, None, None, None, str(signal))
    found = held_out.reduced(student, student.onnx(FP32))
    gain = estimate_gain(metric, found, base)
    macs = [facts(artifact.onnx(FP32)).macs for artifact in (student, teacher)]
    seconds = [_seconds(bench.folder / f"seconds-{one}.json") for one in (label, "teacher")]
    return Row(
        set=name,
        student=label,
        teacher=whole.value,
        accuracy=estimate(metric, found).value,
        samples=whole.n,
        macs=macs[0] / macs[1] if macs[0] and macs[1] else None,
        lost=(-gain.value, -gain.high, -gain.low),
        time=seconds[0] / seconds[1] if seconds[1] else None,
    )


if __name__ == "__main__":
    raise SystemExit(main())

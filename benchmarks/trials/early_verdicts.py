"""Do sessions that end early give the verdicts of the full timing, and what do they cost?

    python -m edgekd.benchmarks.trials.early_verdicts runs/mnist --json FILE

makes the run if it is not there, and prints how much of its time went into measuring. Then the
measuring alone is repeated, in a copy of the run: some times with every round, and many times with
sessions that end where their intervals decide. Outcomes of the stages and the file that ships must
be equal. The quiet machine needs about 15 minutes for 20 repeats of the demo.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from edgekd.benchmarks.trials.report import conclude
from edgekd.evaluation.record import JSON
from edgekd.evaluation.spent_time import read_spent
from edgekd.pipeline.compress import compress, run_steps
from edgekd.pipeline.final import measure_finalists
from edgekd.pipeline.setup import set_up
from edgekd.progress import Silent
from edgekd.recipe.recipe import Recipe, find_root, load_recipe

MOST_SHARE = 0.4  # of a run's time that measuring may take


@dataclass(frozen=True)
class Judged:
    """The verdicts of all stages, measured once."""

    outcomes: Mapping[str, str]
    """Of each stage, and what ships."""
    speeds: Mapping[str, tuple[float, float, float]]
    """Of each stage: value, low, high of the speed-up that decided."""
    took_s: float


def judge_again(recipe: Recipe, run: Path, *, root: Path, times: int) -> Iterator[Judged]:
    """Measure a finished run `times` more, with nothing made again; the run itself is not touched.

    Args:
        recipe: of the run; its `measure` may differ.
        run: the run folder.
        root: the folder that the recipe's paths start from.
        times: how often.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        folder = Path(scratch) / run.name
        shutil.copytree(run, folder, ignore=shutil.ignore_patterns("evidence", "bundle"))
        bench = set_up(recipe, root=root, folder=folder, progress=Silent())
        for _ in range(times):
            start = time.monotonic()
            rungs = run_steps(bench)
            ships = measure_finalists(bench, rungs).ships
            took_s = time.monotonic() - start
            outcomes = {rung.title: rung.verdict.outcome for rung in rungs}
            found = {r.title: r.evidence.findings[-1].speedup for r in rungs[1:] if r.evidence}
            speeds = {title: (s.value, s.low, s.high) for title, s in found.items() if s}
            yield Judged({**outcomes, "ships": f"{ships.title} {ships.variant}"}, speeds, took_s)
            shutil.rmtree(folder / "evidence")


def share_of_measuring(run: Path) -> tuple[float, float]:
    """Return the seconds of a run and the share of them that measuring took."""
    spent = read_spent(run)
    total_s = sum(part.seconds for part in spent)
    return total_s, sum(part.seconds for part in spent if part.work == "measure") / total_s


def main() -> None:
    """Repeat the measuring and count equal verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="a run folder; it is made if it is not there")
    parser.add_argument("--recipe", type=Path, default=Path("mnist"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--full", type=int, default=1, help="times with every round")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    recipe, root = load_recipe(arguments.recipe), find_root(arguments.recipe)
    if not (arguments.run / JSON).exists():
        compress(recipe, root=root, out=arguments.run)
    total_s, share = share_of_measuring(arguments.run)
    all_rounds = recipe.measure.model_copy(update={"stop_when_decided": False})
    slow = recipe.model_copy(update={"measure": all_rounds})
    full, early = [], []
    for one in judge_again(slow, arguments.run, root=root, times=arguments.full):
        full.append(one)
        _print("all rounds", len(full), one)
    for one in judge_again(recipe, arguments.run, root=root, times=arguments.repeats):
        early.append(one)
        _print("early end", len(early), one)
    equal = sum(one.outcomes == full[0].outcomes for one in early)
    rows = [
        ["run", f"{total_s:.0f} s, {100 * share:.0f} % of it measuring"],
        ["all rounds", f"{_mean_s(full):.0f} s a repeat"],
        ["early end", f"{_mean_s(early):.0f} s a repeat"],
        ["equal verdicts", f"{equal} of {len(early)}"],
    ]
    content = {
        "run_s": total_s,
        "measuring_share": share,
        "equal": equal,
        "full": [asdict(one) for one in full],
        "early": [asdict(one) for one in early],
    }
    conclude(f"measuring of {recipe.name}", ["of", "found"], rows, content, arguments.json)
    if equal < len(early) or share > MOST_SHARE:
        sys.exit(f"{equal} of {len(early)} equal, measuring took {100 * share:.0f} % of the run")


def _mean_s(found: list[Judged]) -> float:
    return sum(one.took_s for one in found) / len(found)


def _print(title: str, number: int, one: Judged) -> None:
    speeds = ", ".join(f"{t} {v:.2f} [{a:.2f}, {b:.2f}]" for t, (v, a, b) in one.speeds.items())
    outcomes = ", ".join(f"{stage}: {outcome}" for stage, outcome in one.outcomes.items())
    print(f"{title} {number}: {one.took_s:.0f} s  {outcomes}  {speeds}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

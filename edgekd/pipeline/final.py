"""The end of a run: one last session, the choice of what ships, the test split once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from pydantic import TypeAdapter

from edgekd.artifact import FP32, Artifact, Variant
from edgekd.benchmarks.measurement import Session
from edgekd.benchmarks.stats import latency, noise_floor, percentile, speedup
from edgekd.benchmarks.stats.looks import error_of
from edgekd.devices.device import Place
from edgekd.errors import CandidateError, MeasureError, one_line
from edgekd.evaluation.evidence import Evidence, File, files_of
from edgekd.evaluation.examiner import Examiner
from edgekd.evaluation.gate import Verdict
from edgekd.evaluation.other_work import with_others
from edgekd.evaluation.quality import estimate_gain, estimate_metrics
from edgekd.evaluation.reduced import Reduced
from edgekd.evaluation.results import Elsewhere, Final, Finalist, LastSession, Tested
from edgekd.pipeline.bench import Bench
from edgekd.store import digest, write_atomic, write_json


@dataclass(frozen=True)
class Rung:
    """One stage of the ladder, with its files at hand."""

    title: str
    artifact: Artifact
    """Of the stage before, where the step was skipped."""
    evidence: Evidence | None
    """None where the step was skipped."""
    verdict: Verdict


LAST = "last session and test"  # in the log of the time
TEACHER = "teacher"  # the title of the first rung
Kept = Sequence[tuple[Rung, File]]
Measured = tuple[tuple[Finalist, ...], Session | None]


def measure_finalists(bench: Bench, rungs: Sequence[Rung]) -> Final:
    """Measure every kept file in one interleaved session per device, and choose what ships.

    The first device decides.
    """
    bench.log.stage = LAST
    kept = [(rung, file) for rung in rungs for file in list_kept_files(rung)]
    first, *others = bench.places
    found = _last_session(bench, kept, first, _measure)
    recipe = bench.recipe
    ship = recipe.export.ship
    chosen = choose(found.files, recipe.budget.max_latency_s, ship)
    if isinstance(ship, str):
        chosen = prefer_asked(rungs, found.files, chosen)
    asked = () if isinstance(ship, str) else ship
    made = {file.variant for file in found.files}
    return Final(
        **vars(found),
        chosen=chosen,
        bundled=_of_one_network(kept, chosen, asked),
        rule=ship if isinstance(ship, str) else ", ".join(ship),
        not_kept=() if made & set(asked) else asked,
        elsewhere=tuple(_elsewhere(bench, kept, place) for place in others),
    )


def _last_session(
    bench: Bench, kept: Kept, place: Place, measure: Callable[[Examiner, Kept], Measured]
) -> LastSession:
    """Measure the kept files, or read what was measured of these very files there before."""
    examiner = bench.examiner(kept[0][0].artifact, place)
    key = digest([[r.title, r.artifact.sha256(f.path)] for r, f in kept], examiner.judged_by)
    path = bench.folder / "evidence" / f"final-{key[:16]}.json"
    stored = TypeAdapter(LastSession)
    if path.exists():
        return stored.validate_python(json.loads(path.read_text("utf8")))
    files, session = measure(examiner, kept)
    if session is None:  # it is not stored: what failed there is tried again
        conditions = place.device.conditions(place.setup)
        return LastSession(files=files, floor=None, session=None, conditions=conditions)
    name = f"{path.stem}.session.json"
    write_atomic(path.with_name(name), json.dumps(session.to_json()))
    found = LastSession(
        files=files,
        floor=noise_floor(session),
        session=name,
        conditions=with_others(session.measurements[0].conditions, session),
    )
    write_json(path, stored.dump_python(found, mode="json"))
    return found


def list_kept_files(rung: Rung) -> list[File]:
    """Return the files that the rung's step itself made and that were kept."""
    return [File(rung.artifact.onnx(v), v, False) for v in rung.verdict.variants]


def prefer_asked(rungs: Sequence[Rung], files: Sequence[Finalist], chosen: int) -> int:
    """Return the chosen file, or the one for another runtime where only such were asked for.

    Then what is fastest on this device is not the question.
    """
    last = next(rung for rung in reversed(rungs) if rung.verdict.kept)
    made = {ruling.variant for ruling in last.verdict.rulings}
    own = [i for i, file in enumerate(files) if file.title == last.title]
    foreign = [i for i in own if files[i].only_for]
    if foreign == own and made == {files[i].variant for i in own}:
        return own[0]
    return chosen


def _measure(examiner: Examiner, kept: Kept) -> Measured:
    """Time the files that are for the runtime of a device; the others only have a size."""
    homes = [examiner.find_home(file.variant) for _, file in kept]
    own = [pair for pair, home in zip(kept, homes, strict=True) if not home]
    session = examiner.measure(
        [(rung.artifact, file) for rung, file in own],
        decided=lambda so_far: _is_decided(_finalists(own, so_far)),
    )
    timed = iter(_finalists(own, session))
    files = tuple(
        replace(_finalist(*pair), level=False, only_for=home) if home else next(timed)
        for pair, home in zip(kept, homes, strict=True)
    )
    return files, session


def _is_decided(files: Sequence[Finalist]) -> bool:
    """Return whether one file is proven the fastest, and each is faster or slower than the first.

    More rounds could then change neither what ships nor what is claimed of it.
    """
    ratios = [file.speedup for file in files if file.speedup is not None]
    return sum(file.level for file in files) == 1 and not any(r.low <= 1 <= r.high for r in ratios)


def _elsewhere(bench: Bench, kept: Kept, place: Place) -> Elsewhere:
    """Measure the kept files on a further device."""
    found = _last_session(bench, kept, place, _measure_those_that_run)
    is_timed = any(file.latency_s is not None for file in found.files)
    best = choose(found.files, None) if is_timed else None
    return Elsewhere(**vars(found), device=place.title, best=best)


def _measure_those_that_run(examiner: Examiner, kept: Kept) -> Measured:
    """Measure files on a further device, where one that does not run ends no job."""
    running, refused = list(range(len(kept))), dict[int, str]()
    timed, session = dict[int, Finalist](), None
    while running and session is None:
        try:
            found, session = _measure(examiner, [kept[i] for i in running])
            timed = dict(zip(running, found, strict=True))
        except CandidateError as error:
            refused[running.pop(error.index)] = one_line(error)
        except MeasureError as error:
            refused.update(dict.fromkeys(running, one_line(error)))
            running = []
    files = tuple(
        timed.get(i) or replace(_finalist(*pair), level=False, refused=refused[i])
        for i, pair in enumerate(kept)
    )
    return files, session


def _finalists(kept: Kept, session: Session) -> tuple[Finalist, ...]:
    if session.measurements[0].conditions.emulated:  # that proves function, never speed
        return tuple(_finalist(rung, file) for rung, file in kept)
    timed = session.measurements
    compare = partial(speedup, floor=noise_floor(session), error=error_of(session))
    fastest = min(timed, key=lambda m: latency(m).value)
    teacher = timed[0] if kept[0][0].title == TEACHER else None
    return tuple(
        replace(
            _finalist(rung, file),
            latency_s=latency(m),
            p90_s=percentile(m, 90),
            speedup=None if m is teacher or teacher is None else compare(teacher, m),
            level=m is fastest or compare(m, fastest).low <= 1,
        )
        for (rung, file), m in zip(kept, timed, strict=True)
    )


def _finalist(rung: Rung, file: File) -> Finalist:
    """Return what is known of a file before it is timed."""
    return Finalist(
        title=rung.title,
        label=file.label,
        variant=file.variant,
        sha256=rung.artifact.sha256(file.path),
        size_bytes=file.path.stat().st_size,
        latency_s=None,
        p90_s=None,
        speedup=None,
        level=True,
    )


def _of_one_network(kept: Kept, chosen: int, asked: Sequence[Variant]) -> tuple[int, ...]:
    """Return the kept files that are made of the same FP32 file as the chosen one."""

    def network(rung: Rung) -> str:
        return rung.artifact.sha256(rung.artifact.onnx(FP32))

    same = [i for i, (rung, _) in enumerate(kept) if network(rung) == network(kept[chosen][0])]
    wanted = {*asked, kept[chosen][1].variant}
    return tuple(i for i in same if not asked or kept[i][1].variant in wanted)


Ship = Literal["fastest", "smallest"] | Sequence[Variant]


def choose(files: Sequence[Finalist], max_latency_s: float | None, ship: Ship = "fastest") -> int:
    """Return which file ships: of those that are not proven slower than the fastest, the smallest.

    Where the fastest meets the largest latency, only files that meet it are considered. Without
    speeds the smallest file of the last stage ships: it keeps quality. Files for other runtimes
    ship beside it.

    Args:
        files: all that were kept.
        max_latency_s: of the budget.
        ship: "smallest" passes over speed, except for the budget; of variants the first one that
            was kept is chosen from, or all files if none of them was.
    """
    if not isinstance(ship, str):
        first = next((v for v in ship if any(f.variant == v for f in files)), None)
        numbers = [
            i
            for i, f in enumerate(files)
            if f.variant == first or (first is None and not f.only_for)
        ]
        return numbers[_choose([files[i] for i in numbers], max_latency_s, by_size=False)]
    numbers = [i for i, f in enumerate(files) if not f.only_for]
    return numbers[_choose([files[i] for i in numbers], max_latency_s, by_size=ship == "smallest")]


def _choose(files: Sequence[Finalist], max_latency_s: float | None, *, by_size: bool) -> int:
    known = [(i, f, f.latency_s.value) for i, f in enumerate(files) if f.latency_s is not None]
    if not known:
        last = [(i, f) for i, f in enumerate(files) if by_size or f.title == files[-1].title]
        return min(last, key=lambda pair: pair[1].size_bytes)[0]
    fastest_s = min(seconds for _, _, seconds in known)
    asked_s = math.inf if max_latency_s is None else max_latency_s
    limit_s = asked_s if fastest_s <= asked_s else math.inf
    fast = [(i, f, seconds) for i, f, seconds in known if seconds <= limit_s]
    level = [(i, f) for i, f, _ in fast if by_size or f.level]
    if not level:  # those named are all slower than others
        return min(fast, key=lambda entry: entry[2])[0]
    return min(level, key=lambda pair: pair[1].size_bytes)[0]


def judge_on_test(bench: Bench, rungs: Sequence[Rung]) -> tuple[Tested, ...]:
    """Evaluate the teacher and every kept file on the test split, only for the report."""
    with bench.log.spend("evaluate"):
        return _judge_on_test(bench, rungs)


def _judge_on_test(bench: Bench, rungs: Sequence[Rung]) -> tuple[Tested, ...]:
    teacher = rungs[0]
    permitted = bench.recipe.permitted
    reference = reduce_test(bench, teacher, teacher, FP32)
    tested = []
    for rung in rungs:
        if not rung.verdict.kept:
            continue
        for file in files_of(rung.artifact, permitted):
            if not file.preview and file.variant not in rung.verdict.variants:
                continue  # dropped, or the float form of a quantized stage: the stage before
            own = bench.held_out(teacher.artifact).reduced(rung.artifact, file.path)
            tested.append(
                Tested(
                    title=rung.title,
                    label=file.label,
                    metrics=estimate_metrics(bench.task, own),
                    gain=estimate_gain(bench.task.metrics[0], own, reference),
                )
            )
    return tuple(tested)


def reduce_test(bench: Bench, teacher: Rung, rung: Rung, variant: Variant) -> Reduced:
    """Return what the task keeps of a file's predictions on the test split."""
    return bench.held_out(teacher.artifact).reduced(rung.artifact, rung.artifact.onnx(variant))

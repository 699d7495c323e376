"""The end of a run: all kept files in one session, what ships, the test split once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from edgekd.artifact import Artifact
from edgekd.benchmarks.measurement import Measurement
from edgekd.benchmarks.statistics import Estimate, latency, noise_floor, percentile, speedup
from edgekd.data.preprocess import read_preprocess
from edgekd.evidence import Evidence, File, files_of
from edgekd.gate import Verdict
from edgekd.quality import Answers, answer, gain, metrics_of
from edgekd.run import Bench
from edgekd.store import digest, write_atomic, write_json


@dataclass(frozen=True)
class Rung:
    """One stage of the ladder."""

    title: str
    artifact: Artifact
    evidence: Evidence
    verdict: Verdict


@dataclass(frozen=True)
class Finalist:
    """One kept file, as measured in the last session."""

    title: str
    label: str
    variant: str
    sha256: str
    size_bytes: int
    latency_s: Estimate | None
    p90_s: Estimate | None
    speedup: Estimate | None
    """Against the teacher's FP32 file."""


@dataclass(frozen=True)
class Final:
    """The last session: every kept file, and which one ships."""

    files: tuple[Finalist, ...]
    chosen: int
    floor: float | None
    session: str | None
    conditions: Mapping[str, Any]

    @property
    def ships(self) -> Finalist:
        """The file that ships."""
        return self.files[self.chosen]


@dataclass(frozen=True)
class Tested:
    """One file on the test split."""

    title: str
    label: str
    metrics: Mapping[str, Estimate]
    gain: Estimate


def final_session(bench: Bench, rungs: Sequence[Rung]) -> Final:
    """Measure every kept file of this run in one interleaved session; the fastest ships.

    Of files that are not proven slower than the fastest, the smallest ships.
    """
    kept = [(r, own_file(r)) for r in rungs if r.verdict.kept]
    examiner = bench.examiner(rungs[0].artifact)
    key = digest([r.artifact.sha256(f.path) for r, f in kept], examiner.judged_by)
    path = bench.folder / "evidence" / f"final-{key[:16]}.json"
    if path.exists():
        return TypeAdapter(Final).validate_python(json.loads(path.read_text("utf8")))
    session = examiner.measure([(r.artifact, f) for r, f in kept])
    floor = noise_floor(session)
    emulated = session.measurements[0].conditions.emulated
    timed: Sequence[Measurement | None] = [None] * len(kept) if emulated else session.measurements
    files = tuple(
        _finalist(r, f, m, timed[0], floor) for (r, f), m in zip(kept, timed, strict=True)
    )
    name = f"{path.stem}.session.json"
    write_atomic(path.with_name(name), json.dumps(session.to_json()))
    final = Final(
        files,
        _choose(files, timed, floor),
        floor,
        name,
        asdict(session.measurements[0].conditions),
    )
    write_json(path, TypeAdapter(Final).dump_python(final, mode="json"))
    return final


def own_file(rung: Rung) -> File:
    """Return the file that the rung's step itself made."""
    own = rung.evidence.own
    return File(rung.artifact.onnx(own.variant), own.variant, False)


def _finalist(
    rung: Rung, file: File, m: Measurement | None, base: Measurement | None, floor: float
) -> Finalist:
    return Finalist(
        rung.title,
        file.label,
        file.variant,
        rung.artifact.sha256(file.path),
        file.path.stat().st_size,
        None if m is None else latency(m),
        None if m is None else percentile(m, 90),
        None if m is None or base is None or m is base else speedup(base, m, floor=floor),
    )


def _choose(files: Sequence[Finalist], timed: Sequence[Measurement | None], floor: float) -> int:
    known = [(i, m) for i, m in enumerate(timed) if m is not None]
    if not known:  # no speed on this device: the last kept stage is the smallest that keeps quality
        return len(files) - 1
    best, fastest = min(known, key=lambda pair: latency(pair[1]).value)
    level = [i for i, m in known if i == best or speedup(m, fastest, floor=floor).low <= 1]
    return min(level, key=lambda i: files[i].size_bytes)


def judge_on_test(bench: Bench, rungs: Sequence[Rung]) -> tuple[Tested, ...]:
    """Judge the teacher and every kept file on the test split, for the report alone."""
    teacher = rungs[0]
    examiner = bench.examiner(teacher.artifact)
    reference = answers_on_test(bench, teacher.artifact, own_file(teacher))
    tested = []
    for rung in rungs:
        if not rung.verdict.kept:
            continue
        for file in files_of(rung.artifact, examiner.permitted):
            if file.variant == "fp32" and rung.evidence.own.variant != "fp32":
                continue  # the float form of a quantized stage is the stage before
            said = answers_on_test(bench, rung.artifact, file)
            tested.append(
                Tested(
                    rung.title,
                    file.label,
                    metrics_of(bench.task, said, reference),
                    gain(bench.task.metrics[0], said, reference, reference),
                )
            )
    return tuple(tested)


def answers_on_test(bench: Bench, artifact: Artifact, file: File) -> Answers:
    """Return what a file says on the test split."""
    from edgekd.exporters.facts import facts
    from edgekd.exporters.parity import session_predictor

    first = facts(file.path).inputs[0].shape[:1]
    size = first[0] if first and isinstance(first[0], int) else 64
    return answer(
        session_predictor(file.path),
        bench.task,
        bench.test,
        "test",
        read_preprocess(artifact.folder),
        size=size,
    )

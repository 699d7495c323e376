"""The audit as a part of a run: after the teacher is open, before anything learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import PurePath

from edgekd.artifact import FP32, Artifact
from edgekd.data.preprocess import Preprocess, read_preprocess
from edgekd.distill.loss_options import LearnsFromTeacher
from edgekd.distill.step import AnotherTeacher, Distill
from edgekd.evaluation.audit import Audit, Skipped, StudentFacts, read_audit, write_audit
from edgekd.pipeline.audit.answers import Candidate
from edgekd.pipeline.audit.find import Subject, find
from edgekd.pipeline.audit.mistakes import write_mistakes
from edgekd.pipeline.audit.student import look_at_student
from edgekd.pipeline.bench import Bench
from edgekd.progress import Silent
from edgekd.store import digest, file_sha256
from edgekd.teacher.hf_model import HfModel
from edgekd.teacher.onnx_file import OnnxFile
from edgekd.user_code import title as code_title

REVISION = 1
"""Raised when equal teachers and data give another audit."""


def learner(bench: Bench) -> LearnsFromTeacher | None:
    """Return the first step that learns from the teacher's outputs or layers; None: none does."""
    for step in bench.recipe.working_steps:
        if isinstance(step, LearnsFromTeacher) and step.active:
            return step
    return None


def audit_for_run(bench: Bench, teacher: Artifact) -> Audit | None:
    """Audit the teacher of a run and say what was found; None where nothing learns from it."""
    step = learner(bench)
    if step is None:
        return None
    distils = step if isinstance(step, Distill) else None
    more = () if distils is None else distils.more_teachers
    found = audit_teacher(bench, teacher, more=more, step=distils)
    for line in headlines(found):
        bench.progress.say(line)
    return found


def headlines(audit: Audit) -> list[str]:
    """Return the few lines that a run shows of its audit."""
    standing = "" if audit.standing == "not judged" else f"{audit.standing}. "
    found = [f"audit of the teacher: {standing}{audit.standing_why}"]
    found += [f"audit: {one}" for one in audit.remarks]
    return [*found, *(f"audit: {one.do}" for one in audit.advice if one.lines)]


def audit_teacher(
    bench: Bench,
    teacher: Artifact,
    *,
    more: Sequence[AnotherTeacher],
    step: Distill | None,
) -> Audit:
    """Return the audit of a finished teacher; it is read from the run folder if nothing changed.

    Written are `audit.json` and `mistakes.csv`.

    Args:
        bench: of the run.
        teacher: with its ONNX file.
        more: further teachers, which teach beside it.
        step: what trains the student; None: it is not known.

    Raises:
        BadInput: a further teacher or the student does not fit the data.
        RunFolderError: what was written before is damaged.
    """
    with bench.log.spend("evaluate"):
        candidates = _candidates(bench, teacher, more)
        student = _student(bench, teacher, step, candidates[0].preprocess)
        key = _key(bench, candidates, student)
        found = read_audit(bench.folder)
        if found is not None and found.key == key:
            return found
        files = [(another.onnx, another.weight) for another in more]
        subject = Subject(bench=bench, key=key, candidates=candidates, student=student, files=files)
        audit, mistakes = find(subject)
        if mistakes is not None:
            write_mistakes(mistakes, bench.folder)
        write_audit(audit, bench.folder)
        return audit


def _student(
    bench: Bench, teacher: Artifact, step: Distill | None, preprocess: Preprocess
) -> StudentFacts | Skipped | None:
    if step is None:
        return None
    return look_at_student(step, teacher, preprocess, bench.context(teacher))


def _candidates(bench: Bench, teacher: Artifact, more: Sequence[AnotherTeacher]) -> list[Candidate]:
    own = read_preprocess(teacher.folder)
    found = [Candidate(_name(bench), teacher.onnx(FP32), own)]
    quiet = replace(bench.context(None), progress=Silent())  # the set-up told what there is
    for another in more:
        seen, name = another.look(quiet), PurePath(another.onnx).name
        taken = sum(one.name.partition(" (")[0] == name for one in found)
        name = f"{name} ({taken + 1})" if taken else name
        found.append(Candidate(name, seen.path, seen.preprocess, another.weight))
    return found


def _name(bench: Bench) -> str:
    model = bench.recipe.model
    if isinstance(model, OnnxFile):
        return PurePath(model.onnx).name
    if isinstance(model, HfModel):
        return PurePath(model.hf).name
    return code_title(model.build)


def _key(
    bench: Bench, candidates: Sequence[Candidate], student: StudentFacts | Skipped | None
) -> str:
    files = [
        [c.name, file_sha256(c.path), c.preprocess.model_dump(mode="json"), c.weight]
        for c in candidates
    ]
    parts = [bench.data.fingerprint(part) for part in ("validation", "calibration")]
    model = None if student is None else asdict(student)
    return digest(REVISION, files, parts, bench.task_identity, model)

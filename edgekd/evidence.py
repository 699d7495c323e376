"""Evidence: what is measured after every stage, on the files as they would ship.

Quality is paired by sample with the teacher and with the stage before; speed comes from one
interleaved session. Finished evidence is kept by content, so a resumed run replays its verdicts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import TypeAdapter

from edgekd.artifact import PREVIEW, Artifact
from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.measurement import Candidate, Measurement, Session, Timing
from edgekd.benchmarks.statistics import Estimate, latency, percentile, speedup
from edgekd.data.preprocess import read_preprocess
from edgekd.gate import Findings
from edgekd.progress import Progress, Silent
from edgekd.quality import Answers, answer, gain, metrics_of
from edgekd.store import digest, file_sha256, write_atomic, write_json

if TYPE_CHECKING:
    from edgekd.data.feed import Data
    from edgekd.devices.device import Device
    from edgekd.step import Step
    from edgekd.task import Task

FEED_SAMPLES = 8
TOO_WIDE = 0.25  # an interval of a speed-up this wide, and holding 1, is worth another session


@dataclass(frozen=True)
class File:
    """One ONNX file of a stage. A preview is what quantizing it would ship, built early."""

    path: Path
    variant: str
    preview: bool

    @property
    def label(self) -> str:
        """How people call it."""
        return f"{self.variant} preview" if self.preview else self.variant


@dataclass(frozen=True)
class FileEvidence:
    """One file on the validation split and on the device."""

    label: str
    variant: str
    preview: bool
    sha256: str
    facts: Mapping[str, Any]
    metrics: Mapping[str, Estimate]
    gain: Estimate
    step_gain: Estimate
    latency_s: Estimate | None = None
    p90_s: Estimate | None = None
    load_s: float | None = None
    first_s: float | None = None
    peak_memory_bytes: int | None = None
    speedup: Estimate | None = None
    """Against the teacher's FP32 file."""


@dataclass(frozen=True)
class Evidence:
    """One stage: its files, what the gate looks at, and where the raw seconds are."""

    files: tuple[FileEvidence, ...]
    judged: int
    findings: Findings
    compared: tuple[str, str]
    """The pair whose speed decides: label of the stage's file, of the file before."""
    floor: float | None
    session: str | None
    conditions: Mapping[str, Any] = field(default_factory=dict)

    @property
    def own(self) -> FileEvidence:
        """The file that the step itself made."""
        return self.files[self.judged]


def files_of(artifact: Artifact, permitted: Sequence[str]) -> list[File]:
    """Return the files of an artifact that may ship, and its preview if that variant may."""
    found = [File(artifact.onnx(v), v, False) for v in artifact.variants if v in permitted]
    if PREVIEW in artifact.files and "int8" in permitted:
        found.append(File(artifact.folder / PREVIEW, "int8", True))
    return found


@dataclass
class Examiner:
    """Looks at stages. It holds validation data and a device, and no test split."""

    task: Task
    data: Data
    device: Device
    timing: Timing
    permitted: tuple[str, ...]
    teacher: Artifact
    folder: Path
    """Of this run: `evidence/` and `feeds/` go here."""
    progress: Progress = field(default_factory=Silent)
    _answers: dict[str, Answers] = field(default_factory=dict)

    def examine(self, step: Step, after: Artifact, before: Artifact) -> Evidence:
        """Return the evidence for `after`, from disk if it was finished before."""
        makes = step.makes if step.makes in after.variants else "fp32"
        key = digest(
            makes,
            dict(after.files),
            dict(before.files),
            dict(self.teacher.files),
            [self.data.fingerprint, self.device.name, list(self.permitted)],
            asdict(self.timing),
        )[:16]
        path = self.folder / "evidence" / f"{step.name}-{key}.json"
        if path.exists():
            return TypeAdapter(Evidence).validate_python(json.loads(path.read_text("utf8")))
        path.parent.mkdir(parents=True, exist_ok=True)
        evidence = self._examine(makes, after, before, session_name=f"{path.stem}.session.json")
        write_json(path, TypeAdapter(Evidence).dump_python(evidence, mode="json"))
        return evidence

    def answers(self, artifact: Artifact, path: Path) -> Answers:
        """Return what a file says on the validation split; each file is asked once."""
        from edgekd.exporters.facts import facts
        from edgekd.exporters.parity import session_predictor

        sha256 = artifact.sha256(path)
        if sha256 not in self._answers:
            batch = facts(path).inputs[0].shape[:1]
            size = batch[0] if batch and isinstance(batch[0], int) else 64
            self._answers[sha256] = answer(
                session_predictor(path),
                self.task,
                self.data,
                "validation",
                read_preprocess(artifact.folder),
                size=size,
            )
        return self._answers[sha256]

    def measure(self, pairs: Sequence[tuple[Artifact, File]]) -> Session:
        """Time files in one interleaved session, each on its own real inputs."""
        candidates = [Candidate(f.path, self._feeds(artifact)) for artifact, f in pairs]
        with self.progress.track(
            f"measure {len(candidates)} files on {self.device.name}", 1
        ) as tick:
            done = 0.0

            def advance(share: float) -> None:
                nonlocal done
                tick(share - done)
                done = share

            return self.device.measure(candidates, self.timing, progress=advance)

    def _examine(
        self, makes: str, after: Artifact, before: Artifact, *, session_name: str
    ) -> Evidence:
        mine, old = files_of(after, self.permitted), files_of(before, self.permitted)
        if not any(f.variant == makes and not f.preview for f in mine):
            mine.append(File(after.onnx(makes), makes, False))
        judged = next(i for i, f in enumerate(mine) if f.variant == makes and not f.preview)
        base = File(self.teacher.onnx("fp32"), "fp32", False)
        pairs = _distinct(
            [(after, f) for f in reversed(mine)]
            + [(before, f) for f in old]
            + [(self.teacher, base)]
        )
        session, timed = self._session(pairs)
        teacher = self.answers(self.teacher, base.path)
        reference = self._reference(before, old, makes, timed)
        files = tuple(
            self._file(f, after, timed, base.path, before=(before, reference)) for f in mine
        )
        chosen = judged if makes != "fp32" else self._fastest(mine, timed, judged)
        speed = None
        if session is not None and timed:
            speed = self._speedup(reference.path, mine[chosen].path, timed, session.floor)
            write_atomic(self.folder / "evidence" / session_name, json.dumps(session.to_json()))
        first, own = self.task.metrics[0], self.answers(after, mine[judged].path)
        findings = Findings(
            unit="points" if first.unit == "%" else first.unit,
            gain=gain(first, own, teacher, teacher),
            step_gain=files[judged].step_gain,
            speedup=speed,
            steady=session is None or all(m.steady for m in session.measurements),
            shrink=reference.path.stat().st_size / mine[chosen].path.stat().st_size,
        )
        return Evidence(
            files,
            judged,
            findings,
            (mine[chosen].label, reference.label),
            session.floor if session else None,
            session_name if session else None,
            asdict(session.measurements[0].conditions) if session else {},
        )

    def _session(
        self, pairs: Sequence[tuple[Artifact, File]]
    ) -> tuple[Session | None, dict[Path, Measurement]]:
        session = self.measure(pairs)
        if session.measurements[0].conditions.emulated:
            return None, {}  # emulation proves function, never speed
        if not all(m.steady for m in session.measurements):
            session = self.measure(pairs)  # once more, then "gain not shown"
        timed = {f.path: m for (_, f), m in zip(pairs, session.measurements, strict=True)}
        return session, timed

    def _fastest(
        self, files: Sequence[File], timed: Mapping[Path, Measurement], default: int
    ) -> int:
        if not timed:
            return default
        return min(range(len(files)), key=lambda i: latency(timed[files[i].path]).value)

    def _reference(
        self, before: Artifact, old: Sequence[File], makes: str, timed: Mapping[Path, Measurement]
    ) -> File:
        """Return the file to be faster than: like with like for a network, FP32 for a variant."""
        plain = File(before.onnx("fp32"), "fp32", False)
        if makes != "fp32" or not old:
            return plain
        return old[self._fastest(old, timed, 0)]

    def _speedup(
        self, before: Path, after: Path, timed: Mapping[Path, Measurement], floor: float
    ) -> Estimate:
        from edgekd.exporters.facts import same_structure

        if same_structure(before, after):  # equal graphs are equally fast by definition
            return Estimate(1.0, 1.0, 1.0, len(timed[after].runs))
        return speedup(timed[before], timed[after], floor=floor)

    def _file(
        self,
        file: File,
        artifact: Artifact,
        timed: Mapping[Path, Measurement],
        base: Path,
        *,
        before: tuple[Artifact, File],
    ) -> FileEvidence:
        said = self.answers(artifact, file.path)
        teacher = self.answers(self.teacher, base)
        first = self.task.metrics[0]
        plain = File(before[0].onnx("fp32"), "fp32", False)
        evidence = FileEvidence(
            file.label,
            file.variant,
            file.preview,
            file_sha256(file.path),
            self._facts(artifact, file.path),
            metrics_of(self.task, said, teacher),
            gain(first, said, teacher, teacher),
            gain(first, said, self.answers(before[0], plain.path), teacher),
        )
        if file.path not in timed:
            return evidence
        m = timed[file.path]
        speed = speedup(timed[base], m, floor=0.0) if file.path != base else None
        return FileEvidence(
            **{
                **{name: getattr(evidence, name) for name in evidence.__dataclass_fields__},
                "latency_s": latency(m),
                "p90_s": percentile(m, 90),
                "load_s": float(np.median([run.load_s for run in m.runs])),
                "first_s": float(np.median([run.first_s for run in m.runs])),
                "peak_memory_bytes": max(run.peak_memory_bytes for run in m.runs),
                "speedup": speed,
            }
        )

    def _facts(self, artifact: Artifact, path: Path) -> Mapping[str, Any]:
        """Count at the length that is timed, where the length is free."""
        from edgekd.exporters.facts import facts

        preprocess = read_preprocess(artifact.folder)
        with np.load(self._feeds(artifact), allow_pickle=False) as feeds:
            shapes = {name: feeds[name].shape[1:] for name in feeds.files}
        lengths = {
            symbol: int(shapes[name][axis])
            for name, axes in preprocess.dynamic_axes.items()
            for axis, symbol in axes.items()
        }
        return facts(path, lengths=lengths).to_json()

    def _feeds(self, artifact: Artifact) -> Path:
        """Write real inputs of the artifact's own kind, one sample a call; return the file."""
        preprocess = read_preprocess(artifact.folder)
        key = digest(self.data.fingerprint, preprocess.model_dump(mode="json"))[:16]
        path = self.folder / "feeds" / f"{key}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            batch = next(self.data.batches("validation", preprocess, size=FEED_SAMPLES))
            partial = path.with_suffix(".partial")
            save_feeds(partial, {name: a[:, None] for name, a in batch.inputs[0].items()})
            partial.replace(path)
        return path


def _distinct(pairs: Sequence[tuple[Artifact, File]]) -> list[tuple[Artifact, File]]:
    seen: dict[Path, tuple[Artifact, File]] = {}
    for artifact, file in pairs:
        seen.setdefault(file.path, (artifact, file))
    return list(seen.values())

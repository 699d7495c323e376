"""The examiner gathers evidence: answers on validation, and one interleaved session on the device.

Quality is paired by sample with the teacher and with the stage before. Finished evidence is kept
by content, so a resumed run replays its verdicts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter

from edgekd.artifact import FP32, Artifact, Variant
from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.measurement import Candidate, Measurement, Session, Setup, Timing
from edgekd.benchmarks.stats import (
    Estimate,
    latency,
    noise_floor,
    pair_steadiness,
    percentile,
    speedup,
)
from edgekd.data.preprocess import read_preprocess
from edgekd.evaluation.evidence import Evidence, File, FileEvidence, files_of
from edgekd.evaluation.gate import Findings
from edgekd.evaluation.predictions import Predictions
from edgekd.evaluation.quality import gain, metrics_of
from edgekd.evaluation.reduced import Reduced
from edgekd.exporters.file_facts import Kernels, OnnxFacts
from edgekd.progress import Progress, Silent, track_share
from edgekd.store import digest, file_sha256, write_atomic, write_json

if TYPE_CHECKING:
    from edgekd.data.batches import Data
    from edgekd.devices.device import Device
    from edgekd.step import Step
    from edgekd.tasks.task import Task

FEED_SAMPLES = 8
PAUSE_S = 5.0  # before a second session: what disturbed the first may pass
TOO_WIDE = 0.25  # an interval of a speed-up this wide, and holding 1, is worth another session


@dataclass(frozen=True)
class Race:
    """One session, and the pair of its files that decides."""

    session: Session | None
    timed: Mapping[Path, Measurement]
    after: File
    before: File
    speedup: Estimate | None
    floor: float | None
    """The A/A floor of the session."""

    @property
    def steady(self) -> bool:
        """Whether the files that decide kept their speed against each other, unthrottled."""
        before, after = (self.timed.get(file.path) for file in (self.before, self.after))
        if before is None or after is None or self.floor is None:
            return True  # nothing was timed
        state = pair_steadiness(before, after, floor=self.floor)
        return state.steady and not state.throttled

    @property
    def doubtful(self) -> bool:
        """Whether it is worth another session: not steady, or too wide to tell."""
        speed = self.speedup
        if speed is None:
            return False
        undecided = speed.low <= 1 <= speed.high and speed.high / speed.low > 1 + TOO_WIDE
        return undecided or not self.steady


@dataclass(kw_only=True)
class Examiner:
    """Looks at stages. It holds validation data and a device, and no test split."""

    task: Task
    data: Data
    device: Device
    timing: Timing
    setup: Setup
    permitted: tuple[Variant, ...]
    teacher: Artifact
    task_identity: str
    """Of its name, its file and its metrics: evidence of another task is not replayed."""
    folder: Path
    """Of this run: `evidence/` and `feeds/` go here."""
    progress: Progress = field(default_factory=Silent)

    def examine(self, step: Step, after: Artifact, before: Artifact) -> Evidence:
        """Return the evidence for `after`, from disk if it was finished before."""
        (makes,) = step.makes
        key = digest(
            makes,
            dict(after.files),
            dict(before.files),
            dict(self.teacher.files),
            [self.data.fingerprint("validation"), list(self.permitted), self.judged_by],
        )[:16]
        path = self.folder / "evidence" / f"{step.name}-{key}.json"
        if path.exists():
            return TypeAdapter(Evidence).validate_python(json.loads(path.read_text("utf8")))
        path.parent.mkdir(parents=True, exist_ok=True)
        evidence = self._examine(makes, after, before, session_name=f"{path.stem}.session.json")
        write_json(path, TypeAdapter(Evidence).dump_python(evidence, mode="json"))
        return evidence

    @property
    def judged_by(self) -> list[object]:
        """What measures and how, for the key of evidence: the task, the machine, the timing."""
        machine = [self.device.name, self.device.fingerprint(self.setup)]
        return [self.task_identity, machine, asdict(self.timing), asdict(self.setup)]

    def reduced(self, artifact: Artifact, path: Path) -> Reduced:
        """Return what the task keeps of a file's predictions on the validation split."""
        return Predictions(
            task=self.task,
            task_identity=self.task_identity,
            data=self.data,
            split="validation",
            teacher=self.teacher,
            folder=self.folder / "predictions",
        ).reduced(artifact, path)

    def measure(self, pairs: Sequence[tuple[Artifact, File]]) -> Session:
        """Time files in one interleaved session, each on its own real inputs."""
        candidates = [Candidate(f.path, self._feeds(artifact), self.setup) for artifact, f in pairs]
        title = f"measure {len(candidates)} files on {self.device.name}"
        with track_share(self.progress, title) as share:
            return self.device.measure(candidates, self.timing, progress=share)

    def _examine(
        self, makes: Variant, after: Artifact, before: Artifact, *, session_name: str
    ) -> Evidence:
        mine, old = files_of(after, self.permitted), files_of(before, self.permitted)
        judged = next(i for i, f in enumerate(mine) if f.variant == makes and not f.preview)
        base = File(self.teacher.onnx(FP32), FP32, False)
        pairs = _distinct(
            [(after, f) for f in reversed(mine)]
            + [(before, f) for f in old]
            + [(self.teacher, base)]
        )
        race = self._race(makes, mine, old, pairs)
        if race.doubtful:
            time.sleep(PAUSE_S)
            race = self._race(makes, mine, old, pairs)  # once more, then "gain not shown"
        session = race.session
        if session is not None:
            write_atomic(self.folder / "evidence" / session_name, json.dumps(session.to_json()))
        files = tuple(self._file(f, after, race.timed, base.path, before=before) for f in mine)
        teacher = self.reduced(self.teacher, base.path)
        first, own = self.task.metrics[0], self.reduced(after, mine[judged].path)
        findings = Findings(
            unit="points" if first.is_percentage else first.unit,
            gain=gain(first, own, teacher),
            step_gain=files[judged].step_gain,
            speedup=race.speedup,
            steady=race.steady,
            shrink=race.before.path.stat().st_size / race.after.path.stat().st_size,
        )
        return Evidence(
            files=files,
            judged=judged,
            findings=findings,
            compared=(race.after.label, race.before.label),
            floor=race.floor,
            session=session_name if session else None,
            conditions=session.measurements[0].conditions if session else None,
        )

    def _race(
        self,
        makes: Variant,
        mine: Sequence[File],
        old: Sequence[File],
        pairs: Sequence[tuple[Artifact, File]],
    ) -> Race:
        """Time all files once and set the pair that decides against each other.

        Like with like for a network: the fastest file of either side, previews included. A step
        that makes a variant is set against the FP32 file it came from.
        """
        session = self.measure(pairs)
        own = next(f for f in mine if f.variant == makes and not f.preview)
        plain = next(f for f in old if f.variant == FP32)
        if session.measurements[0].conditions.emulated:  # that proves function, never speed
            return Race(None, {}, own, plain, None, None)
        timed = {f.path: m for (_, f), m in zip(pairs, session.measurements, strict=True)}
        after = own if makes != FP32 else _fastest(mine, timed)
        before = plain if makes != FP32 else _fastest(old, timed)
        floor = noise_floor(session)
        speed = _speedup(before.path, after.path, timed, floor)
        return Race(session, timed, after, before, speed, floor)

    def _file(
        self,
        file: File,
        artifact: Artifact,
        timed: Mapping[Path, Measurement],
        base: Path,
        *,
        before: Artifact,
    ) -> FileEvidence:
        own = self.reduced(artifact, file.path)
        first = self.task.metrics[0]
        facts, kernels = self._facts(artifact, file.path)
        evidence = FileEvidence(
            label=file.label,
            variant=file.variant,
            preview=file.preview,
            sha256=file_sha256(file.path),
            facts=facts,
            kernels=kernels,
            metrics=metrics_of(self.task, own),
            gain=gain(first, own, self.reduced(self.teacher, base)),
            step_gain=gain(first, own, self.reduced(before, before.onnx(FP32))),
        )
        if file.path not in timed:
            return evidence
        m = timed[file.path]
        speed = speedup(timed[base], m, floor=0.0) if file.path != base else None
        return replace(
            evidence,
            latency_s=latency(m),
            p90_s=percentile(m, 90),
            load_s=float(np.median([run.load_s for run in m.runs])),
            first_s=float(np.median([run.first_s for run in m.runs])),
            peak_memory_bytes=max(run.peak_memory_bytes for run in m.runs),
            speedup=speed,
        )

    def _facts(self, artifact: Artifact, path: Path) -> tuple[OnnxFacts, Kernels | None]:
        """Count at the length that is timed, where the length is free; INT8 kernels too."""
        from edgekd.exporters.fused_kernels import int8_layers
        from edgekd.exporters.model_stats import facts

        preprocess = read_preprocess(artifact.folder)
        with np.load(self._feeds(artifact), allow_pickle=False) as feeds:
            shapes = {name: feeds[name].shape[1:] for name in feeds.files}
        lengths = {
            symbol: int(shapes[name][axis])
            for name, axes in preprocess.dynamic_axes.items()
            for axis, symbol in axes.items()
        }
        found = facts(path, lengths=lengths)
        return found, int8_layers(path) if found.int8_share else None

    def _feeds(self, artifact: Artifact) -> Path:
        """Write real inputs of the artifact's own kind, one sample a call; return the file."""
        preprocess = read_preprocess(artifact.folder)
        key = digest(self.data.fingerprint("validation"), preprocess.model_dump(mode="json"))[:16]
        path = self.folder / "feeds" / f"{key}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            batch = next(self.data.batches("validation", preprocess, size=FEED_SAMPLES))
            partial = path.with_suffix(".partial")
            save_feeds(partial, {name: a[:, None] for name, a in batch.inputs[0].items()})
            partial.replace(path)
        return path


def _fastest(files: Sequence[File], timed: Mapping[Path, Measurement]) -> File:
    return min(files, key=lambda f: latency(timed[f.path]).value)


def _speedup(
    before: Path, after: Path, timed: Mapping[Path, Measurement], floor: float
) -> Estimate:
    from edgekd.exporters.model_stats import same_structure

    if same_structure(before, after):  # equal graphs are equally fast by definition
        return Estimate(1.0, 1.0, 1.0, len(timed[after].runs))
    return speedup(timed[before], timed[after], floor=floor)


def _distinct(pairs: Sequence[tuple[Artifact, File]]) -> list[tuple[Artifact, File]]:
    seen: dict[Path, tuple[Artifact, File]] = {}
    for artifact, file in pairs:
        seen.setdefault(file.path, (artifact, file))
    return list(seen.values())

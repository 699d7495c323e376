"""Gather the evidence of a stage: quality on validation, speed from one interleaved session.

Quality is paired by sample with the teacher and with the stage before. Finished evidence is stored
by content, so a resumed run replays its verdicts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from edgekd.artifact import FP32, Artifact, Variant
from edgekd.benchmarks.feeds import save_feeds
from edgekd.benchmarks.measurement import Candidate, Session, Setup, Timing
from edgekd.benchmarks.stats import latency, percentile, speedup
from edgekd.benchmarks.stats.looks import error_of, split_error
from edgekd.data.preprocess import read_preprocess
from edgekd.devices.device import Device, Place
from edgekd.evaluation.evidence import Evidence, File, FileEvidence, files_of
from edgekd.evaluation.fidelity import Fidelity, compare_files, read_parity
from edgekd.evaluation.gate import Findings
from edgekd.evaluation.predictions import Predictions
from edgekd.evaluation.quality import estimate_gain, estimate_metrics
from edgekd.evaluation.reduced import Reduced
from edgekd.evaluation.speed import SpeedComparison, compare_speed
from edgekd.evaluation.spent_time import TimeLog
from edgekd.exporters.file_facts import Kernels, OnnxFacts
from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.model_stats import facts
from edgekd.exporters.ort_session import batch_size
from edgekd.exporters.variants import find_home
from edgekd.progress import Progress, Silent, track_share
from edgekd.store import digest, file_sha256, write_atomic, write_json

if TYPE_CHECKING:
    from edgekd.data.batches import Data
    from edgekd.tasks.task import Task

FEED_SAMPLES = 8
PAUSE_S = 5.0  # before a second session: what disturbed the first may pass


@dataclass(kw_only=True)
class Examiner:
    """Measures stages on validation data and on a device. It cannot see the test split."""

    task: Task
    data: Data
    device: Device
    timing: Timing
    setup: Setup
    permitted: tuple[Variant, ...]
    teacher: Artifact
    task_identity: str
    """A hash of its code and metrics: evidence of another task is not replayed."""
    folder: Path
    """Of this run: `evidence/` and `feeds/` go here."""
    log: TimeLog
    again: bool = True
    """Whether a doubtful session is measured once more."""
    progress: Progress = field(default_factory=Silent)

    def examine(
        self, after: Artifact, before: Artifact, *, name: str, makes: tuple[Variant, ...]
    ) -> Evidence:
        """Return the evidence for a stage, from disk if it was finished before.

        Args:
            after: the stage.
            before: what it was made from.
            name: of the step, for the names of files.
            makes: the variants that the step makes.
        """
        key = digest(
            makes,
            dict(after.files),
            dict(before.files),
            dict(self.teacher.files),
            [self.data.fingerprint("validation"), list(self.permitted), self.judged_by],
        )[:16]
        path = self.folder / "evidence" / f"{name}-{key}.json"
        if path.exists():
            return TypeAdapter(Evidence).validate_python(json.loads(path.read_text("utf8")))
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.log.spend("evaluate"):
            evidence = self._examine(makes, after, before, session_name=f"{path.stem}.session.json")
        write_json(path, TypeAdapter(Evidence).dump_python(evidence, mode="json"))
        return evidence

    @property
    def judged_by(self) -> list[object]:
        """The identity of a measurement, for the key of evidence: task, machine, timing."""
        machine = [self.device.name, self.device.fingerprint(self.setup)]
        return [self.task_identity, machine, asdict(self.timing), asdict(self.setup)]

    def find_home(self, variant: Variant) -> str:
        """Return the runtimes that a variant is for, if that of the device is not among them.

        Such a file is not timed: what another runtime makes of it says nothing.
        """
        return find_home(variant, runtime=self.setup.runtime, provider=self.setup.provider)

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

    def measure(
        self,
        pairs: Sequence[tuple[Artifact, File]],
        *,
        timing: Timing | None = None,
        decided: Callable[[Session], bool] | None = None,
    ) -> Session:
        """Time files in one interleaved session, each on its own real inputs.

        Args:
            pairs: the files, each with its artifact.
            timing: how long; that of the run if it is None.
            decided: whether the session may end at one of its looks.
        """
        candidates = [Candidate(f.path, self.feeds(artifact), self.setup) for artifact, f in pairs]
        count = f"{len(candidates)} file{'s' * (len(candidates) != 1)}"
        title = f"measure {count} on {Place(self.device, self.setup).title}"
        with track_share(self.progress, title) as share, self.log.spend("measure"):
            return self.device.measure(
                candidates, timing or self.timing, progress=share, decided=decided
            )

    def _examine(
        self, makes: Sequence[Variant], after: Artifact, before: Artifact, *, session_name: str
    ) -> Evidence:
        mine, old = files_of(after, self.permitted), files_of(before, self.permitted)
        base = File(self.teacher.onnx(FP32), FP32, False)
        candidates = _distinct(
            [(after, f) for f in reversed(mine) if not self.find_home(f.variant)]
            + [(before, f) for f in old if not self.find_home(f.variant)]
            + [(self.teacher, base)]
        )
        timing, second = split_error(self.timing)
        speed = self._compare_speed(makes, mine, old, candidates, timing)
        if speed.doubtful and self.again:
            with self.log.spend("measure"):
                time.sleep(PAUSE_S)
            speed = self._compare_speed(makes, mine, old, candidates, second)
        session = speed.session
        if session is not None:
            write_atomic(self.folder / "evidence" / session_name, json.dumps(session.to_json()))
        files = tuple(self._file(f, after, speed, base.path, before=before) for f in mine)
        by_variant = {file.variant: file for file in files if not file.preview}
        first = self.task.metrics[0]
        findings = tuple(
            Findings(
                variant=variant,
                device=self.device.name,
                unit=first.difference_unit,
                floored={
                    metric.floor: by_variant[variant].metrics[metric.name]
                    for metric in self.task.metrics
                    if metric.floor is not None
                },
                gain=by_variant[variant].gain,
                step_gain=by_variant[variant].step_gain,
                compared=(pair.after.label, pair.before.label),
                speedup=pair.speedup,
                steady=pair.steady,
                shrink=pair.before.path.stat().st_size / pair.after.path.stat().st_size,
            )
            for variant, pair in speed.pairs.items()
        )
        return Evidence(
            files=files,
            findings=findings,
            floor=speed.floor,
            session=session_name if session else None,
            conditions=session.measurements[0].conditions if session else None,
        )

    def _compare_speed(
        self,
        makes: Sequence[Variant],
        mine: Sequence[File],
        old: Sequence[File],
        candidates: Sequence[tuple[Artifact, File]],
        timing: Timing,
    ) -> SpeedComparison:
        timed = [file.path for _, file in candidates]

        def compare(session: Session) -> SpeedComparison:
            return compare_speed(session, timed, makes, after=mine, before=old)

        def is_decided(session: Session) -> bool:
            return compare(session).decided

        return compare(self.measure(candidates, timing=timing, decided=is_decided))

    def _file(
        self,
        file: File,
        artifact: Artifact,
        compared: SpeedComparison,
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
            metrics=estimate_metrics(self.task, own),
            gain=estimate_gain(first, own, self.reduced(self.teacher, base)),
            step_gain=estimate_gain(first, own, self.reduced(before, before.onnx(FP32))),
            fidelity=self._fidelity(file, artifact),
        )
        timed, session = compared.timed, compared.session
        if session is None or file.path not in timed:
            return evidence
        m, error = timed[file.path], error_of(session)
        speed = speedup(timed[base], m, floor=0.0, error=error) if file.path != base else None
        return replace(
            evidence,
            latency_s=latency(m),
            p90_s=percentile(m, 90),
            load_s=float(np.median([run.load_s for run in m.runs])),
            first_s=float(np.median([run.first_s for run in m.runs])),
            peak_memory_bytes=max(run.peak_memory_bytes for run in m.runs),
            speedup=speed,
        )

    def _fidelity(self, file: File, artifact: Artifact) -> tuple[Fidelity, ...]:
        if file.variant == FP32:
            return read_parity(artifact.folder)
        return compare_files(
            artifact.onnx(FP32),
            file.path,
            self.data,
            read_preprocess(artifact.folder),
            name=FP32,
        )

    def _facts(self, artifact: Artifact, path: Path) -> tuple[OnnxFacts, Kernels | None]:
        """Count at the length that is timed, where the length is free; INT8 kernels too."""
        preprocess = read_preprocess(artifact.folder)
        with np.load(self.feeds(artifact), allow_pickle=False) as feeds:
            shapes = {name: feeds[name].shape[1:] for name in feeds.files}
        lengths = {
            symbol: int(shapes[name][axis])
            for name, axes in preprocess.dynamic_axes.items()
            for axis, symbol in axes.items()
        }
        found = facts(path, lengths=lengths)
        return found, int8_layers(path) if found.int8_share else None

    def feeds(self, artifact: Artifact) -> Path:
        """Write real inputs of the artifact's own kind; return the file.

        A call is one sample, or as many as the teacher takes at once if its batch is fixed: all
        files of a run are timed on calls of one size.
        """
        preprocess = read_preprocess(artifact.folder)
        a_call = batch_size(self.teacher.onnx(FP32), default=1)
        kind = preprocess.model_dump(mode="json")
        key = digest(self.data.fingerprint("validation"), kind, a_call)[:16]
        path = self.folder / "feeds" / f"{key}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            batch = next(self.data.batches("validation", preprocess, size=FEED_SAMPLES * a_call))
            partial = path.with_suffix(".partial")
            save_feeds(partial, {n: _in_calls(a, a_call) for n, a in batch.inputs[0].items()})
            partial.replace(path)
        return path


def _in_calls(samples: NDArray[Any], size: int) -> NDArray[Any]:
    """Return [calls, size, ...] from [n, ...]; fewer than `size` samples are repeated."""
    calls = max(1, len(samples) // size)
    rows = np.arange(calls * size) % len(samples)
    return samples[rows].reshape(calls, size, *samples.shape[1:])


def _distinct(pairs: Sequence[tuple[Artifact, File]]) -> list[tuple[Artifact, File]]:
    seen: dict[Path, tuple[Artifact, File]] = {}
    for artifact, file in pairs:
        seen.setdefault(file.path, (artifact, file))
    return list(seen.values())

"""Evidence: what is measured after every stage, on the files as they would ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.artifact import Artifact, Variant
from edgekd.benchmarks.measurement import Conditions
from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.gate import Findings
from edgekd.exporters.file_facts import Kernels, OnnxFacts


@dataclass(frozen=True)
class File:
    """One ONNX file of a stage. A preview is what quantizing it would ship, built early."""

    path: Path
    variant: Variant
    preview: bool

    @property
    def label(self) -> str:
        """How people call it."""
        return f"{self.variant} preview" if self.preview else self.variant


@dataclass(frozen=True, kw_only=True)
class FileEvidence:
    """One file on the validation split and on the device."""

    label: str
    variant: Variant
    preview: bool
    sha256: str
    facts: OnnxFacts
    kernels: Kernels | None
    """What ONNX Runtime makes of an INT8 file on this machine; None for a float file."""
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


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One stage: its files, what the gate looks at, and where the raw seconds are."""

    files: tuple[FileEvidence, ...]
    judged: int
    findings: Findings
    compared: tuple[str, str]
    """The pair whose speed decides: label of the stage's file, of the file before."""
    floor: float | None
    session: str | None
    conditions: Conditions | None
    """None where no speed was measured."""

    def __post_init__(self) -> None:
        """Refuse a file that is not among the files."""
        if not 0 <= self.judged < len(self.files):
            raise ValueError(f"file {self.judged} is judged, of {len(self.files)}")

    @property
    def own(self) -> FileEvidence:
        """The file that the step itself made."""
        return self.files[self.judged]


def files_of(artifact: Artifact, permitted: Sequence[Variant]) -> list[File]:
    """Return the files of an artifact that may ship, and its previews of variants that may."""
    found = [File(artifact.onnx(v), v, False) for v in artifact.variants if v in permitted]
    early = [File(artifact.preview(v), v, True) for v in artifact.previews if v in permitted]
    return [*found, *early]

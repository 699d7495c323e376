"""Evidence: the measurements of a stage, on the files as they would ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekd.artifact import FP32, Artifact, Variant
from edgekd.benchmarks.measurement import Conditions
from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.fidelity import Fidelity
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
        """The label that is shown."""
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
    """The kernels that ONNX Runtime uses for an INT8 file here; None for a float file."""
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
    fidelity: tuple[Fidelity, ...] = ()
    """How near each output is to PyTorch's, or to that of the float file of its stage."""

    @property
    def shown_label(self) -> str:
        """The label, with the true type of a reference that is no float32 file."""
        return find_other_type(self.label, self.facts) or self.label


def find_other_type(label: str, facts: OnnxFacts) -> str:
    """Return the type of a reference whose weights are no float32, as its maker left it; or ""."""
    return facts.float_type if label == FP32 and facts.float_type != "float32" else ""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One stage: its files, what the gate looks at, and where the raw seconds are."""

    files: tuple[FileEvidence, ...]
    findings: tuple[Findings, ...]
    """One for each variant that the step made."""
    floor: float | None
    session: str | None
    conditions: Conditions | None
    """None where no speed was measured."""

    def __post_init__(self) -> None:
        """Refuse findings about a file that is not among the files."""
        made = {file.variant for file in self.files if not file.preview}
        judged = [found.variant for found in self.findings]
        if not judged or not made.issuperset(judged):
            raise ValueError(f"the variants {judged} are judged, of {sorted(made)}")

    @property
    def own(self) -> tuple[FileEvidence, ...]:
        """The files that the step itself made, in the order of `findings`."""
        by_variant = {file.variant: file for file in self.files if not file.preview}
        return tuple(by_variant[found.variant] for found in self.findings)


def files_of(artifact: Artifact, permitted: Sequence[Variant]) -> list[File]:
    """Return the files of an artifact that may ship, and its previews of variants that may."""
    found = [File(artifact.onnx(v), v, False) for v in artifact.variants if v in permitted]
    early = [File(artifact.preview(v), v, True) for v in artifact.previews if v in permitted]
    return [*found, *early]

"""The parts of a run's record: stages, files, the last session, the test split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from edgekd.artifact import Variant
from edgekd.benchmarks.measurement import Conditions
from edgekd.benchmarks.stats import Estimate
from edgekd.data.array_facts import Column
from edgekd.evaluation.evidence import Evidence, FileEvidence
from edgekd.evaluation.gate import Fault, Findings, Outcome, Ruling
from edgekd.exporters.lint.finding import Brief

Kind = Literal["image", "array", "text"]
Split = Literal["train", "calibration", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """A metric of the task, as it is shown."""

    name: str
    unit: str
    better: Literal["higher", "lower"]
    is_percentage: bool
    against_teacher: bool = False
    """Whether it says how near predictions are to the teacher's: the teacher has no value of it."""

    @property
    def title(self) -> str:
        """The metric with its unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def points(self, count: float = 0) -> str:
        """Return what so great a difference of this metric is counted in."""
        if self.is_percentage:
            return "point" if count == 1 else "points"
        return self.unit or self.name


@dataclass(frozen=True, kw_only=True)
class TaskInfo:
    """The task of the model; the first metric decides."""

    metrics: tuple[MetricInfo, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a task without a metric."""
        if not self.metrics:
            raise ValueError("a task has at least one metric")


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """The data and its splits."""

    kind: Kind
    licence: str
    fingerprint: str
    skipped: tuple[str, ...]
    """Files or rows that cannot be read."""
    splits: Mapping[Split, int]
    """Samples of each."""
    columns: tuple[Column, ...] = ()
    """Of a table of numbers, in the order of the model's input."""
    targets: tuple[str, ...] = ()
    """Columns of a table that the answers stand for."""


@dataclass(frozen=True, kw_only=True)
class RepairStep:
    """One thing that was tried so that the outputs of a quantized file follow the float file."""

    method: str
    snr_db: float | None
    """Signal to noise of the worst output with it, on samples that nothing was fitted to."""
    gain_db: float | None
    """Against what was kept before it; None where that cannot be said."""
    kept: bool
    seconds: float | None = None
    """None: what it took is not known."""
    note: str = ""
    quality: str = ""
    """On the validation split, in words; "": it was not judged, for signal to noise decided."""


@dataclass(frozen=True, kw_only=True)
class LayerNoise:
    """What INT8 does to one layer."""

    layer: str
    snr_db: float | None
    """Of what the layer gives, where it alone is rounded; None: there is no noise."""
    work: float
    """Its share of the multiplications."""
    in_float: bool
    without_db: float | None
    """Signal to noise of the worst output of the file with this layer in float; None: not tried."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The calibration data of a quantized file."""

    samples: int
    activations: str
    weights: str
    ranges: Mapping[str, int]
    """How ranges of activations were made: method, number of activations."""
    key: str
    repairs: tuple[RepairStep, ...] = ()
    sensitivity: tuple[LayerNoise, ...] = ()
    """The layer that errs most first."""


@dataclass(frozen=True, kw_only=True)
class OperatorTime:
    """The nodes of one operator in two files: seconds of a call, and how many there are."""

    operator: str
    before_s: float
    after_s: float
    before_nodes: int
    after_nodes: int

    @property
    def change_s(self) -> float:
        """How much more it takes."""
        return self.after_s - self.before_s


@dataclass(frozen=True, kw_only=True)
class LayerTimes:
    """Where the time of two files goes, by the runtime's profiler."""

    before: str
    after: str
    operators: tuple[OperatorTime, ...]

    @property
    def before_s(self) -> float:
        """All nodes of the file before."""
        return sum(one.before_s for one in self.operators)

    @property
    def after_s(self) -> float:
        """All nodes of the file after."""
        return sum(one.after_s for one in self.operators)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The metadata of a foreign ONNX file."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """That is carried along: class names, stride, task, licence."""
    left_out: tuple[str, ...] = ()
    """In words: what of it does not ship."""


@dataclass(frozen=True, kw_only=True)
class RungRecord:
    """One stage of the ladder: kept, rolled back, or skipped."""

    title: str
    outcome: Outcome
    reasons: tuple[str, ...]
    verdict: str
    """One line: the reasons, and the numbers that decided."""
    stage: str
    """Its folder in the run; of the stage before, where the step was skipped."""
    rulings: tuple[Ruling, ...]
    """One for each variant that the step made."""
    left: Mapping[Variant, Mapping[str, str]]
    """Layers that stayed as they were, each with the reason: of the FP32 file those that kept their
    channels where others were cut, of another variant those that quantization left in float."""
    history: tuple[Mapping[str, Any], ...]
    """The options of every step up to this stage, each with its key."""
    calibration: Mapping[Variant, Calibration]
    """Of each quantized variant."""
    evidence: Evidence | None
    """None where the step was skipped."""
    lint: Mapping[Variant, Brief] = field(default_factory=dict)
    """Of each quantized variant: what of it is not INT8 in the runtime that it is for, and why."""
    losses: tuple[float, ...] = ()
    """Mean training loss of each epoch; empty where nothing was trained."""
    curves: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    """What else is known of each epoch: the parts of the loss, the metric on validation."""
    learned: tuple[str, ...] = ()
    """Lines on what its training chose by itself: layers, for instance."""
    layers: Mapping[Variant, LayerTimes] = field(default_factory=dict)
    """Of each variant whose speed is why it is not kept, beside the file before."""

    @property
    def kept(self) -> bool:
        """Whether the next step starts from this stage."""
        return self.outcome == "kept"

    @property
    def faults(self) -> frozenset[Fault]:
        """The kinds of what is against its variants."""
        return frozenset().union(*(ruling.faults for ruling in self.rulings))

    @property
    def files(self) -> tuple[FileEvidence, ...]:
        """Every file that was measured."""
        return () if self.evidence is None else self.evidence.files

    def name_of(self, file: FileEvidence) -> str:
        """Return the stage's title, with the file's variant where the stage made several."""
        return f"{self.title} {file.variant}" if len(self.rulings) > 1 else self.title

    @property
    def judged(self) -> tuple[tuple[FileEvidence, Findings, Ruling], ...]:
        """Each file that the step itself made, with what was found and decided about it."""
        if self.evidence is None:
            return ()
        return tuple(zip(self.evidence.own, self.evidence.findings, self.rulings, strict=True))


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """One kept file, as measured in the last session."""

    title: str
    label: str
    variant: Variant
    sha256: str
    size_bytes: int
    latency_s: Estimate | None
    p90_s: Estimate | None
    speedup: Estimate | None
    """Against the teacher's FP32 file."""
    level: bool
    """Not proven slower than the fastest file of the session."""
    refused: str = ""
    """Why the runtime of the device cannot run it; empty where it can."""
    only_for: str = ""
    """The runtimes that it is for, where that of the device is not among them: it was not timed."""


@dataclass(frozen=True, kw_only=True)
class LastSession:
    """Every kept file in one session. It is stored, and no budget is in it."""

    files: tuple[Finalist, ...]
    """The teacher's first."""
    floor: float | None
    session: str | None
    conditions: Conditions


@dataclass(frozen=True, kw_only=True)
class Elsewhere(LastSession):
    """The kept files on a further device of the recipe, where they decide nothing."""

    device: str
    """Its name, and what of its setup is not the default."""
    best: int | None
    """The file that would ship there; None where no speed was measured."""


@dataclass(frozen=True, kw_only=True)
class Final(LastSession):
    """The last session on the first device, and which of its files ships."""

    chosen: int
    elsewhere: tuple[Elsewhere, ...] = ()
    bundled: tuple[int, ...]
    """The files that the bundle contains: the kept variants of the network that ships."""
    rule: str = "fastest"
    """What was asked to ship: fastest, smallest, or variants."""
    not_kept: tuple[Variant, ...] = ()
    """The variants in `export.ship`, if none of them was kept."""

    def __post_init__(self) -> None:
        """Refuse a choice that is not among the files."""
        if not 0 <= self.chosen < len(self.files):
            raise ValueError(f"file {self.chosen} ships, of {len(self.files)}")
        if self.chosen not in self.bundled or not set(self.bundled) <= set(range(len(self.files))):
            raise ValueError(f"the bundle has the files {self.bundled}, of {len(self.files)}")
        for other in self.elsewhere:
            if [f.sha256 for f in other.files] != [f.sha256 for f in self.files]:
                raise ValueError(f"other files were measured on {other.device} than on the first")
            if other.best is not None and not 0 <= other.best < len(other.files):
                raise ValueError(f"file {other.best} is best there, of {len(other.files)}")

    @property
    def ships(self) -> Finalist:
        """The file that ships."""
        return self.files[self.chosen]


@dataclass(frozen=True, kw_only=True)
class Tested:
    """One file on the test split."""

    title: str
    label: str
    metrics: Mapping[str, Estimate]
    gain: Estimate
    """Of the first metric, relative to the teacher."""


@dataclass(frozen=True, kw_only=True)
class OnTest:
    """The test split: the teacher and every kept file, judged once."""

    samples: int
    files: tuple[Tested, ...]


@dataclass(frozen=True, kw_only=True)
class ClassChange:
    """What is measured of one class on the test split, in percent (`Changes.measure`)."""

    label: str
    samples: int
    teacher: float
    shipped: float
    f1: tuple[float, float] | None = None
    """Of the teacher and of what ships, where a sample may have several labels."""


@dataclass(frozen=True, kw_only=True)
class ChangedSample:
    """A test sample that the file that ships answers otherwise than the teacher."""

    index: int
    label: str
    teacher: str
    shipped: str
    image: str | None = None
    """A PNG as a data URI."""
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class Confused:
    """Test samples of one class that are answered as another."""

    label: str
    predicted: str
    teacher: int
    shipped: int


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Which classes the file that ships takes for which, on the test split."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """A row for each true class, a column for each predicted one; empty where there are many."""
    pairs: tuple[Confused, ...]
    """The commonest mistakes."""


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How the predictions on the test split changed."""

    classes: tuple[ClassChange, ...]
    changed: int
    samples: tuple[ChangedSample, ...]
    """Some of those that changed."""
    confusion: Confusion | None = None
    """None for a task with several labels a sample."""
    measure: Literal["accuracy", "average precision"] = "accuracy"
    """Of each class: the share that is answered rightly, or with several labels the precision."""


@dataclass(frozen=True, kw_only=True)
class Calls:
    """Seconds of single calls of one finalist, drawn evenly over its processes."""

    title: str
    label: str
    seconds: tuple[float, ...]

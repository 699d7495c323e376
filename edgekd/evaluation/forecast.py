"""The forecast of a run, as one typed value: what `--dry-run` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgekd.exporters.file_facts import Entry

MOST_KEPT = 0.9
"""Share of the parameters: a network that keeps more is hardly smaller or faster."""


@dataclass(frozen=True, kw_only=True)
class NetworkForecast:
    """A network of a recipe as it is before training."""

    title: str
    parameters: int | None = None
    """None: not known before the step runs, or the step is skipped; `note` has the reason."""
    inputs: tuple[Entry, ...] = ()
    outputs: tuple[Entry, ...] = ()
    note: str = ""
    training_bytes: int = 0
    """Memory that its training takes at its most; 0 where it is not trained."""


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """One stage and the seconds of its parts."""

    title: str
    training_s: float
    export_s: float
    quantize_s: float
    quality_s: float
    """Its files on the validation split."""
    measure_s: float
    """From the timing options and `Assumed.process_s`."""

    @property
    def parts_s(self) -> tuple[float, ...]:
        """Training, export, quantization, quality, measurement."""
        return (
            self.training_s,
            self.export_s,
            self.quantize_s,
            self.quality_s,
            self.measure_s,
        )

    @property
    def seconds(self) -> float:
        """All parts."""
        return sum(self.parts_s)


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """Assumed times of what a rehearsal does not time."""

    process_s: float = 0.6
    """One fresh process that imports ONNX Runtime, loads a file and warms up."""
    write_s: float = 15.0
    """Intervals of the metrics, report, bundle and the last checks."""
    report_bytes: int = 3_000_000
    """The report with its pictures, and what was measured."""


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The forecast of a run from the start; finished stages in its folder are not subtracted."""

    name: str
    folder: str
    device: str
    splits: Mapping[str, int]
    skipped: int
    """Samples that cannot be read and are left out."""
    networks: tuple[NetworkForecast, ...]
    stages: tuple[StagePlan, ...]
    closing_s: float
    """The last session, the test split, report and bundle."""
    disk_bytes: int
    memory_bytes: int
    """The most that the whole process will have at once, as the rehearsal of every part had."""
    free_bytes: int | None
    """Memory that is free now; None where it is not known."""
    assumed: Assumed

    @property
    def seconds(self) -> float:
        """The whole run."""
        return sum(stage.seconds for stage in self.stages) + self.closing_s

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        stages = [{**asdict(stage), "seconds": stage.seconds} for stage in self.stages]
        return {**asdict(self), "stages": stages, "seconds": self.seconds}

"""Judge a file by the quality that the budget allows, while a step still makes it.

The way of the data: a step that declares the need "quality" gets this, and neither the validation
split nor the teacher themselves. A file answers the validation split, and its first metric, or
where there are no labels those with a floor, is compared with the teacher's by the rule of the
gate. What files predict is kept by content in the run folder: the examiner, and a run that
resumes, read the same predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekd.artifact import FP32, Artifact
from edgekd.evaluation.gate import Quality
from edgekd.evaluation.predictions import Predictions
from edgekd.evaluation.quality import estimate, estimate_gain
from edgekd.options import Budget


@dataclass(frozen=True)
class Judged:
    """The quality of one file."""

    within: bool
    """Whether the budget allows it."""
    text: str
    """The quality, as the gate words it."""


@dataclass(frozen=True)
class QualityGate:
    """The rule of the gate about quality, before there is a stage."""

    predictions: Predictions
    """Of the validation split, with the teacher that files are compared with."""
    budget: Budget

    def judge(self, artifact: Artifact, path: Path) -> Judged:
        """Return the quality of a file of an artifact.

        Raises:
            ModelError: the file cannot be run on the data.
        """
        metrics, teacher = self.predictions.task.metrics, self.predictions.teacher
        own = self.predictions.reduced(artifact, path)
        base = self.predictions.reduced(teacher, teacher.onnx(FP32))
        quality = Quality(
            unit=metrics[0].difference_unit,
            gain=estimate_gain(metrics[0], own, base),
            floored={m.floor: estimate(m, own) for m in metrics if m.floor is not None},
        )
        return Judged(not quality.faults(self.budget), quality.text)

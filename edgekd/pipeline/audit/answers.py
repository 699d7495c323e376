"""What one teacher answers: what its task keeps for the metrics, and its scores as they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.batches import Data
from edgekd.data.preprocess import Preprocess
from edgekd.evaluation.reduced import Reduced, reduce_split
from edgekd.exporters.ort_session import batch_size, predictor
from edgekd.tasks.classification import softmax
from edgekd.tasks.task import Arrays, SignalKind, Task, name_outputs

FLAT: frozenset[SignalKind] = frozenset({"classes", "labels", "values"})
"""Kinds of outputs that are small enough to be kept for a whole split."""
_LEAST_PROBABILITY = 1e-12
_FAR = 1e4
"""Scores beyond it, such as -inf for a class that cannot be, are this: their exponential is 0."""


@dataclass(frozen=True)
class Candidate:
    """A teacher: its file, and what is done to the samples."""

    name: str
    path: Path
    preprocess: Preprocess
    weight: float = 1.0


@dataclass(frozen=True)
class Answers:
    """The answers of one teacher to one split."""

    of: Candidate
    reduced: Reduced
    outputs: Mapping[str, NDArray[Any]]
    """By the task's names, [n, ...]; empty where the task has others than those in FLAT."""

    @property
    def arrays(self) -> Arrays:
        """What the task keeps for its metrics."""
        return self.reduced.arrays


def collect(candidate: Candidate, task: Task, data: Data, split: str) -> Answers:
    """Run a teacher over a split, once.

    Raises:
        ModelError: it cannot be run on the data, or has other outputs than the task.
    """
    run = predictor(candidate.path)
    kept: list[Arrays] = []
    is_flat = set(task.signals.values()) <= FLAT

    def watched(inputs: Arrays) -> Arrays:
        found = run(inputs)
        if is_flat:
            kept.append({n: np.array(a) for n, a in name_outputs(found, task).items()})
        return found

    size = batch_size(candidate.path)
    reduced = reduce_split(
        watched, task, data, split, candidate.preprocess, size=size, teacher=None
    )
    names = kept[0] if kept else ()
    joined = {name: np.concatenate([part[name] for part in kept]) for name in names}
    whole = all(len(array) == len(reduced.index) for array in joined.values())
    return Answers(candidate, reduced, joined if whole else {})  # a task may call more than once


def scores_of(answers: Answers, task: Task, kind: SignalKind) -> NDArray[np.float64] | None:
    """Return the scores [n, ...] where the only output is of this kind; finite."""
    if list(task.signals.values()) != [kind] or not answers.outputs:
        return None
    (array,) = answers.outputs.values()
    if array.ndim != 2 or array.dtype.kind != "f" or array.shape[1] < 1:
        return None
    found = np.nan_to_num(np.asarray(array, np.float64), nan=-_FAR, posinf=_FAR, neginf=-_FAR)
    return np.asarray(found.clip(-_FAR, _FAR))


def are_probabilities(scores: NDArray[np.float64]) -> bool:
    """Return whether rows [n, classes] are probabilities already: the network ends in a softmax."""
    in_range = bool((scores >= 0).all() and (scores <= 1).all())
    return in_range and bool(np.allclose(scores.sum(axis=1), 1, atol=1e-3)) and len(scores) > 1


def as_logits(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return class scores whose softmax is the teacher's probability."""
    if not are_probabilities(scores):
        return scores
    return np.asarray(np.log(np.maximum(scores, _LEAST_PROBABILITY)))


def soft_temperature(logits: NDArray[np.float64]) -> float:
    """Return the temperature at which the answer's mean probability is halfway from even to sure.

    That is (1 + 1 / classes) / 2: the other classes then have half of what they can have. 1 to 20.
    """
    wanted = (1 + 1 / logits.shape[1]) / 2
    low, high = 1.0, 20.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        sure = float(softmax(logits / middle).max(axis=1).mean()) > wanted
        low, high = (middle, high) if sure else (low, middle)
    return float(f"{(low * high) ** 0.5:.2g}")

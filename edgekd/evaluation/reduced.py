"""Run a model over a split, and keep per batch only what the metrics of the task need.

The teacher is run once per split. Of its predictions the task keeps what the other models are
compared with (`Task.reference`), so that those of a whole split are never in memory together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.preprocess import Preprocess
from edgekd.data.text_preprocess import TextInputs
from edgekd.tasks.task import Arrays, Predictor, Task, name_outputs

if TYPE_CHECKING:
    from edgekd.data.batches import Data


@dataclass(frozen=True)
class Reduced:
    """The reduced predictions of a model on a split, one row per sample, in its order."""

    arrays: Arrays
    """The arrays for the metrics (`Task.reduce`)."""
    index: NDArray[np.int64]
    """The samples' numbers in the data set."""
    reference: Arrays = field(default_factory=dict)
    """The reference for other models (`Task.reference`), if this model is the teacher."""


def reduce_split(
    predictor: Predictor,
    task: Task,
    data: Data,
    split: str,
    preprocess: Preprocess,
    *,
    size: int,
    teacher: Reduced | None,
) -> Reduced:
    """Run `predictor` over the whole split. Outputs are named by their order in `task.signals`.

    Outputs for words get `mask` [batch, length] beside them, 1 where there is a word: the input
    that the preprocessing of texts makes for it, or all ones. A batch is as long as its longest
    text; what the task keeps of unlike lengths is filled up with zeros, so it keeps the mask too.

    `teacher` is the teacher on the same split; None: this model is the teacher.

    Raises:
        ModelError: the model gives another number of outputs than the task has.
    """

    def model(inputs: Arrays) -> Arrays:
        return name_outputs(predictor(inputs), task)

    kept: list[Arrays] = []
    references: list[Arrays] = []
    index: list[NDArray[np.int64]] = []
    done = 0
    for batch in data.batches(split, preprocess, size=size):
        inputs = batch.inputs[0]
        predictions = _masked(task.predict(model, inputs), inputs, task, preprocess)
        if teacher is None:
            reference = task.reference(predictions)
            references.append(reference)
        else:
            rows = slice(done, done + len(batch.index))
            reference = {name: array[rows] for name, array in teacher.reference.items()}
        kept.append(task.reduce(predictions, batch.targets, reference))
        index.append(batch.index)
        done += len(batch.index)
    return Reduced(_join(kept), np.concatenate(index), _join(references))


def _masked(predictions: Arrays, inputs: Arrays, task: Task, preprocess: Preprocess) -> Arrays:
    tokens = [name for name, kind in task.signals.items() if kind == "tokens"]
    if not tokens or "mask" in predictions:
        return predictions
    name = preprocess.mask if isinstance(preprocess, TextInputs) else None
    if name is not None:  # whatever the network calls it
        return {**predictions, "mask": inputs[name]}
    return {**predictions, "mask": np.ones(predictions[tokens[0]].shape[:2], np.int64)}


def _join(parts: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
    names = parts[0] if parts else ()
    return {name: _stack([part[name] for part in parts]) for name in names}


def _stack(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Join along the first axis; along the others, fill up with zeros to the longest."""
    longest = np.max([a.shape for a in arrays], axis=0)
    ends = [[(0, 0), *((0, end) for end in (longest - a.shape)[1:])] for a in arrays]
    return np.concatenate([np.pad(a, end) for a, end in zip(arrays, ends, strict=True)])

"""Quality with its uncertainty: metrics on a split, and gains paired by sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.benchmarks.statistics import Estimate
from edgekd.data.feed import Data
from edgekd.data.preprocess import Preprocess
from edgekd.errors import ModelError
from edgekd.task import Arrays, Metric, Predictor, Task

Z95 = 1.959963984540054
RESAMPLES = 400


@dataclass(frozen=True)
class Answers:
    """The predictions of a model on a split, with the targets, in the split's own order."""

    predictions: Arrays
    """By signal. Token outputs have the longest batch's length, and `mask` beside them: 1 where
    there is a token, 0 where there is padding."""
    targets: Arrays
    index: NDArray[np.int64]


def answer(
    predictor: Predictor, task: Task, data: Data, split: str, preprocess: Preprocess, *, size: int
) -> Answers:
    """Run `predictor` over the whole split. Outputs are named by their order in `task.signals`.

    Outputs of a whole batch are padded to its longest sample, so the batches differ in length.

    Raises:
        ModelError: the model gives another number of outputs than the task has.
    """

    def model(inputs: Arrays) -> Arrays:
        return by_signal(predictor(inputs), task)

    said: list[Arrays] = []
    truth: list[Arrays] = []
    index: list[NDArray[np.int64]] = []
    for batch in data.batches(split, preprocess, size=size):
        said.append(_masked(task.predict(model, batch.inputs[0]), batch.inputs[0], task))
        truth.append(batch.targets)
        index.append(batch.index)
    return Answers(_join(said), _join(truth), np.concatenate(index))


def by_signal(outputs: Arrays, task: Task) -> Arrays:
    """Name a model's outputs, in their order, as the task calls them.

    Raises:
        ModelError: there are more or fewer of them.
    """
    if len(outputs) != len(task.signals):
        raise ModelError(
            f"the model gives {len(outputs)} outputs ({', '.join(outputs)}) and the task has "
            f"{len(task.signals)} ({', '.join(task.signals)}); they are matched by order"
        )
    return dict(zip(task.signals, outputs.values(), strict=True))


def _masked(predictions: Arrays, inputs: Arrays, task: Task) -> Arrays:
    """Add `mask` [batch, length] to token outputs: the model's own input, or all of it counts."""
    tokens = [name for name, kind in task.signals.items() if kind == "tokens"]
    if not tokens or "mask" in predictions:
        return predictions
    every = np.ones(predictions[tokens[0]].shape[:2], np.int64)
    return {**predictions, "mask": inputs.get("mask", every)}


def _join(parts: list[Arrays]) -> dict[str, NDArray[Any]]:
    return {name: _stack([part[name] for part in parts]) for name in parts[0]}


def _stack(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """Join along the first axis; along the others, fill up with zeros to the longest."""
    longest = np.max([a.shape for a in arrays], axis=0)
    ends = [[(0, 0), *((0, end) for end in (longest - a.shape)[1:])] for a in arrays]
    return np.concatenate([np.pad(a, end) for a, end in zip(arrays, ends, strict=True)])


def _take(arrays: Arrays, rows: NDArray[np.int64]) -> Arrays:
    return {name: array[rows] for name, array in arrays.items()}


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a proportion (Wilson 1927): honest also at 0 and at n hits."""
    p, z2 = hits / n, Z95 * Z95
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def matched_difference(gained: int, lost: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of (gained - lost) / n, matched pairs (Agresti, Min 2005, 3).

    Half a count is added to each of the four cells, so that no change at all is no certainty.
    """
    b, c, m = gained + 0.5, lost + 0.5, n + 2
    middle = (b - c) / m
    half = Z95 * math.sqrt(b + c - (b - c) ** 2 / m) / m
    return middle - half, middle + half


def estimate(metric: Metric, said: Answers, teacher: Answers) -> Estimate:
    """Return the metric with its 95 % interval over samples."""
    n = len(said.index)
    args = (said.predictions, said.targets, teacher.predictions)
    value = metric.of(*args)
    if metric.values is not None:
        values = np.asarray(metric.values(*args), np.float64)
        top = float(values.max()) or _hit(metric)
        if top > 0 and bool(np.isin(values, (0.0, top)).all()):
            low, high = wilson(int((values > 0).sum()), n)
            return Estimate(value, low * top, high * top, n)
        return _bootstrap(lambda rows: float(values[rows].mean()), value, n)
    return _bootstrap(lambda rows: metric.of(*(_take(arrays, rows) for arrays in args)), value, n)


def _hit(metric: Metric) -> float:
    """Return what one hit counts, for a file that has none."""
    return 100.0 if metric.is_percentage else 1.0


def gain(metric: Metric, after: Answers, before: Answers, teacher: Answers) -> Estimate:
    """Return how much better `after` is than `before`, paired by sample; negative is a loss."""
    n = len(after.index)
    sign = 1.0 if metric.better == "higher" else -1.0
    pairs = [(a.predictions, a.targets, teacher.predictions) for a in (after, before)]
    value = sign * (metric.of(*pairs[0]) - metric.of(*pairs[1]))
    if metric.values is not None:
        new, old = (np.asarray(metric.values(*args), np.float64) for args in pairs)
        change = sign * (new - old)
        top = float(np.abs(change).max()) or float(np.abs(new).max()) or _hit(metric)
        if bool(np.isin(change, (-top, 0.0, top)).all()):
            low, high = matched_difference(int((change > 0).sum()), int((change < 0).sum()), n)
            return Estimate(value, low * top, high * top, n)
        return _bootstrap(lambda rows: float(change[rows].mean()), value, n)

    def resampled(rows: NDArray[np.int64]) -> float:
        new, old = (metric.of(*(_take(arrays, rows) for arrays in args)) for args in pairs)
        return sign * (new - old)

    return _bootstrap(resampled, value, n)


def _bootstrap(of: Callable[[NDArray[np.int64]], float], value: float, n: int) -> Estimate:
    """Percentile bootstrap over samples; a fixed seed: equal answers give equal bytes."""
    rng = np.random.default_rng(0)
    drawn = [of(rng.integers(0, n, n)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, float(low), float(high), n)


def metrics_of(task: Task, said: Answers, teacher: Answers) -> Mapping[str, Estimate]:
    """Return every metric of the task with its interval."""
    return {metric.name: estimate(metric, said, teacher) for metric in task.metrics}


def samples_needed(max_drop: float, *, unit_scale: float = 100.0, changed: float = 0.02) -> int:
    """Return how many validation samples a budget needs to mean something.

    So many that a file that truly loses nothing, and changes a share `changed` of the answers at
    random, is not rolled back by chance more than one time in twenty: the drop is then normal with
    variance changed / n (matched pairs), so n = 1.645^2 * changed / max_drop^2. A budget of zero is
    a wish for no loss at all and needs nothing.
    """
    if max_drop <= 0:
        return 0
    return math.ceil(1.645**2 * changed / (max_drop / unit_scale) ** 2)

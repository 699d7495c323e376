"""Regression: true numbers beside the predicted ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.evaluation.examples import Fit, Scattered
from edgekd.pipeline.examples.shipping import Shipping
from edgekd.tasks.regression import determination

MOST_POINTS = 400
MOST_NUMBERS = 6
"""Of more numbers per sample these are shown."""


def find_scattered(shipping: Shipping) -> tuple[Scattered, ...]:
    """Return the numbers of the test split; nothing where the task predicts something else."""
    if list(shipping.bench.task.signals.values()) != ["values"]:
        return ()
    old, new = (found.arrays for found in shipping.reduced())
    if not {"answer", "value"} <= set(old) or old["answer"].shape != old["value"].shape:
        return ()
    if old["value"].ndim != 2:
        return ()
    answers = [old["answer"]] if shipping.teacher_ships else [old["answer"], new["answer"]]
    numbers, names = old["value"].shape[1], shipping.bench.dataset.labels
    return tuple(
        _scattered(
            names[i] if i < len(names) else f"number {i + 1}" if numbers > 1 else "",
            old["value"][:, i],
            [answer[:, i] for answer in answers],
        )
        for i in range(min(numbers, MOST_NUMBERS))
    )


def _scattered(name: str, true: NDArray[Any], answers: list[NDArray[Any]]) -> Scattered:
    step = max(1, len(true) // MOST_POINTS)
    drawn = [tuple(a[::step].astype(float).tolist()) for a in (true, *answers)]
    return Scattered(
        name=name,
        true=drawn[0],
        teacher=drawn[1],
        shipped=drawn[2] if len(answers) > 1 else (),
        fits=tuple(
            Fit(
                r2=determination(answer[:, None], true[:, None]),
                error=float(np.abs(answer.astype(float) - true).mean()),
            )
            for answer in answers
        ),
    )

"""Choose how ranges are made by the outputs that follow: each way is tried on kept samples."""

from __future__ import annotations

from dataclasses import replace

from edgekd.quantization.calibrated import Calibrated
from edgekd.quantization.insertion import insert
from edgekd.quantization.layouts import Layout
from edgekd.quantization.planning import make_plan
from edgekd.quantization.proof import FloatAnswers
from edgekd.quantization.ranges import RangeOption

WAYS: tuple[RangeOption, ...] = ("minmax", "percentile", "entropy", "mse", "auto")
"""Equal for every tensor, or by tensor."""
_BETTER = 10**-0.1
"""Times the noise: a gain of less than 1 dB on a dozen samples says nothing about others."""


def choose_ranges(calibrated: Calibrated, answers: FloatAnswers, layout: Layout) -> Calibrated:
    """Return it with the ranges whose outputs follow the float file best, if that is left open.

    "minmax" where no other way is better by 1 dB.

    What is best for each tensor need not be best for the outputs: errors of some tensors count
    more, and of some of their values.

    Args:
        calibrated: with the option "auto", or it is returned as it is.
        answers: of its float graph.
        layout: of the runtimes that the file is for.
    """
    if calibrated.option != "auto":
        return calibrated
    tried = {way: replace(calibrated, option=way) for way in WAYS}
    noise = {way: _measure(found, answers, layout) for way, found in tried.items()}
    best = min(WAYS, key=lambda way: noise[way])
    return tried[best if noise[best] < _BETTER * noise["minmax"] else "minmax"]


def _measure(calibrated: Calibrated, answers: FloatAnswers, layout: Layout) -> float:
    """Return noise / signal of the worst output, infinite where there is no such graph."""
    ranges = calibrated.ranges(layout.activations)
    plan = make_plan(calibrated.model, calibrated.choice, ranges, layout)
    if not plan.layers:
        return float("inf")
    return answers.worst(insert(calibrated.model, plan))

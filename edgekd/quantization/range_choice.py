"""Choose how ranges are made by the outputs that follow: each way is tried on kept samples."""

from __future__ import annotations

from dataclasses import replace

from edgekd.quantization.calibrated import Calibrated
from edgekd.quantization.insertion import insert
from edgekd.quantization.layouts import Layout
from edgekd.quantization.planning import make_plan
from edgekd.quantization.proof import FloatAnswers, decibel
from edgekd.quantization.ranges import RangeOption

WAYS: tuple[RangeOption, ...] = ("percentile", "mse", "entropy", "auto")
"""What is tried beside "minmax": equal for every tensor, or by tensor."""
_ENOUGH_DB = 40.0
"""A hundredth of the outputs: nothing is tried where the error is less."""
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
    plain = replace(calibrated, option="minmax")
    least = _measure(plain, answers, layout)
    if decibel(least) >= _ENOUGH_DB:
        return plain
    best, least = plain, least * _BETTER
    for way in WAYS:
        found = replace(calibrated, option=way)
        noise = _measure(found, answers, layout)
        if noise < least:
            best, least = found, noise
    return best


def _measure(calibrated: Calibrated, answers: FloatAnswers, layout: Layout) -> float:
    """Return noise / signal of the worst output, infinite where there is no such graph."""
    ranges = calibrated.ranges(layout.activations)
    plan = make_plan(calibrated.model, calibrated.choice, ranges, layout)
    if not plan.layers:
        return float("inf")
    return answers.worst(insert(calibrated.model, plan))

"""Of any graph the INT8 file loads, has unique names, and errs no more than its scales allow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgekd.exporters.ort_session import Level, open_session, run
from edgekd.quantization.insertion import insert
from edgekd.quantization.layouts import ONNX_RUNTIME
from edgekd.quantization.proof import FloatAnswers
from edgekd.quantization.static import calibrate, find_outcome
from tests.edgekd.quantization.laws.bound import Bounds
from tests.edgekd.quantization.laws.laws import check_operator
from tests.edgekd.quantization.laws.operators import OPERATORS


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_few_graphs_around_each_operator(operator: str, saturates: bool) -> None:
    check_operator(operator, 2, fused=not saturates)


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS)
def test_graphs_around_each_operator(operator: str, saturates: bool) -> None:
    assert check_operator(operator, 50, fused=not saturates) >= 10


CHAIN = """(float[batch, 2, 4, 4] x) => (float[batch, 2, 4, 4] y) {
    a = Conv(x, w, b)
    r = Relu(a)
    y = Conv(r, w, b)
}"""


def test_a_bias_that_is_off_by_a_tenth_breaks_the_law(build: Any, batched: Any) -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(0, 1, (2, 2, 1, 1)).astype(np.float32),
        "b": np.array([0.5, -1], np.float32),
    }
    feeds = {"x": rng.normal(0, 1, (6, 2, 4, 4)).astype(np.float32)}
    calibrated = calibrate(build(CHAIN, weights), batched(feeds, 6))
    answers = FloatAnswers(calibrated.model, calibrated.judged, name="f.onnx")
    trial = find_outcome(calibrated, answers, ONNX_RUNTIME, accuracy=()).trial
    plan, right = trial.plan, trial.graph
    bounds = Bounds(calibrated.model, plan).follow(feeds)
    name, layer = list(plan.layers.items())[1]
    assert layer.bias is not None
    off = {**plan.layers, name: replace(layer, bias=layer.bias * np.float32(1.1))}
    wrong = insert(calibrated.model, replace(plan, layers=off))
    fits = []
    for graph in (right, wrong):
        session = open_session(bytes(graph.SerializeToString()), level=Level.ORT_DISABLE_ALL)
        (got,) = run(session, ["y"], feeds, name="it")
        low, high = bounds["y"]
        fits.append(bool(((low <= got) & (got <= high)).all()))
    assert fits == [True, False]

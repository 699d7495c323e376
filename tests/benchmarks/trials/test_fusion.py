"""The choice of what is quantized agrees with the table of what ONNX Runtime fuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgekd.benchmarks.trials.fusion import CASES, build, is_chosen
from edgekd.quantization.calibrated import Chosen
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.node_selection import choose

RESULTS = Path(__file__, "../../../../benchmarks/results/fusion.json").resolve()
NOT_CHOSEN = {"Softmax"}
"""Fuses, but its kernel does not clip, and shares below half a step are lost."""


@pytest.mark.parametrize("case", CASES)
def test_what_fuses_is_chosen_and_nothing_else(case: str) -> None:
    table = {one["case"]: one for one in json.loads(RESULTS.read_text(encoding="utf8"))["cases"]}
    model = prepare(build(case), "it")
    chosen = is_chosen(Chosen(model, choose(model), "it"))
    assert chosen is (table[case]["onnxruntime"]["fuses"] and case not in NOT_CHOSEN)

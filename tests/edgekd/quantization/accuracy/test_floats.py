"""Layers in float: the fewest, and what they cost is found by name in a profile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from edgekd.benchmarks.layers.nodes import Node
from edgekd.quantization.accuracy.costs import count_work, find_time
from edgekd.quantization.accuracy.workshop import Workshop
from edgekd.quantization.layouts import ONNX_RUNTIME
from edgekd.quantization.proof import FloatAnswers
from edgekd.quantization.static import calibrate

Build = Callable[..., Path]


@pytest.mark.parametrize(
    ("name", "operator"),
    [
        ("conv", "Conv"),
        ("conv_token_4", "QLinearConv"),
        ("given_nchwc", "Conv"),
        ("clipped_nchwc", "Conv"),
    ],
)
def test_a_layer_is_found_by_its_name_or_by_what_it_gives(name: str, operator: str) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["given"], name="conv")
    clip = helper.make_node("Clip", ["given", "", "six"], ["clipped"], name="clip")
    readers = {"given": [clip]}
    other = Node(name="conv2", operator="Conv", kind=None, time_s=9.0)
    own = Node(name=name, operator=operator, kind=None, time_s=2.0)
    assert find_time(conv, [other, own], readers) == 2.0
    assert find_time(conv, [other], readers) is None


def test_the_work_of_layers_by_hand(build: Build) -> None:
    """16 places of 3 x 3 x 2 by 4, and 4 by 6: 1152 and 24 multiplications."""
    graph = """(float[batch, 2, 4, 4] x) => (float[batch, 6] y) {
        a = Conv<pads = [1, 1, 1, 1]>(x, w1)
        p = GlobalAveragePool(a)
        f = Flatten(p)
        y = Gemm(f, w2)
    }"""
    rng = np.random.default_rng(0)
    own = {"w1": rng.standard_normal((4, 2, 3, 3)), "w2": rng.standard_normal((4, 6))}
    x = rng.standard_normal((8, 2, 4, 4)).astype("f")
    path = build(graph, {name: value.astype("f") for name, value in own.items()})
    calibrated = calibrate(path, lambda: iter([{"x": x}]))
    answers = FloatAnswers(calibrated.model, calibrated.judged, name="m")
    found = count_work(Workshop(calibrated, answers, ONNX_RUNTIME).repair(frozenset()))
    assert sorted(found.values()) == pytest.approx([24 / 1176, 1152 / 1176])

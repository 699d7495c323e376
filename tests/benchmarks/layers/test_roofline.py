from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgekd.benchmarks.children import arguments_of
from edgekd.benchmarks.layers import workloads
from edgekd.benchmarks.layers.nodes import Node, Profile, Tensor
from edgekd.benchmarks.layers.peaks import Bandwidth, Peaks, fastest, peaks
from edgekd.benchmarks.layers.profile import profile
from edgekd.benchmarks.layers.roofline import Roofline, roofline
from edgekd.benchmarks.layers.table import caption, profile_table
from edgekd.benchmarks.measurement import Candidate

MACHINE = Peaks(
    threads=1,
    runtime="onnxruntime 1",
    fp32={"MatMul": 50e9, "Conv": 40e9},
    int8={"MatMulInteger": 100e9, "QLinearConv": 90e9},
    memory=(Bandwidth(1000, 80e9), Bandwidth(100_000, 40e9), Bandwidth(10_000_000, 10e9)),
)


def node(operator: str, kind: Any, time_s: float, *tensors: Tensor, weights: int = 0) -> Node:
    return Node(
        name="n",
        operator=operator,
        kind=kind,
        time_s=time_s,
        provider="CPU",
        inputs=tensors[:-1],
        outputs=tensors[-1:],
        parameter_bytes=weights,
    )


def made(*nodes: Node, calls: int = 1, call_s: float | None = None) -> Profile:
    return Profile(nodes=nodes, calls=calls, runtime="r", threads=1, call_s=call_s)


def test_limits_by_hand() -> None:
    """100 x 100 floats and as many weights: 1e6 products, 120 kB; the second level is too small."""
    square = Tensor("float", (100, 100))
    product = node("MatMul", "other", 100e-6, square, square, square, weights=40_000)
    relu = node("Relu", "other", 20e-6, square, square)
    softmax = node("Softmax", "other", 30e-6, square, square)
    found = roofline(made(product, relu, softmax, calls=49, call_s=100e-6), MACHINE)
    assert found.working_set_bytes == 40_000 + 80_000
    assert found.bytes_per_s == 10e9
    first, second, third = found.points
    assert (first.macs, first.size_bytes, first.bound) == (10**6, 120_000, "compute")
    assert first.intensity == pytest.approx(1e6 / 120e3)
    assert first.attainable == pytest.approx(50e9)  # 8.3 x 10e9 is more
    assert first.achieved == pytest.approx(10e9)
    assert first.share == pytest.approx(0.2)
    assert second.bound == "memory"
    assert second.share == pytest.approx(8e-6 / 20e-6)
    assert (third.macs, third.share, third.limit_s) == (None, None, None)
    assert found.unknown == (third,)
    assert found.known_share == pytest.approx(120 / 150)
    assert found.share == pytest.approx((20 + 8) / 120)
    assert found.call_share == pytest.approx(28 / 100)
    assert Roofline.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_product_of_one_row_waits_for_memory() -> None:
    """1 x 2,000 times 2,000 x 2,000 bytes: half a product per byte moved at the most."""
    row, weights = Tensor("uint8", (1, 2000)), Tensor("int8", (2000, 2000))
    given = node(
        "MatMulInteger", "int8", 1e-3, row, weights, Tensor("int32", (1, 2000)), weights=4_000_000
    )
    (point,) = roofline(made(given), MACHINE).points
    assert point.bound == "memory"
    assert point.attainable == pytest.approx(4e6 / (2000 + 4e6 + 8000) * 10e9)


def test_the_peak_is_of_the_precision() -> None:
    eight, half = Tensor("uint8", (10, 10)), Tensor("float16", (10, 10))
    int8 = node("QLinearMatMul", "int8", 1e-6, eight, eight, eight, eight, eight)
    fp16 = node("MatMul", "other", 1e-6, half, half, half)
    first, second = roofline(made(int8, fp16), MACHINE).points
    assert first.limit_s == pytest.approx(max(1000 / 100e9, 500 / 80e9))
    assert (second.macs, second.limit_s) == (1000, None)  # no peak was measured for it


def test_an_unknown_working_set_lies_in_main_memory() -> None:
    assert MACHINE.bandwidth(None) == MACHINE.memory_bytes_per_s == 10e9
    assert MACHINE.bandwidth(1000) == 80e9
    assert MACHINE.bandwidth(1e12) == 10e9


def test_the_caption_tells_what_is_not_known() -> None:
    square = Tensor("float", (10, 10))
    found = made(node("Softmax", "other", 1e-6, square, square), calls=49, call_s=1e-6)
    text = caption(found, roofline(found, MACHINE))
    assert "work not known, so no limit: Softmax" in text
    assert "run at not known" in text


@pytest.fixture(scope="module")
def here() -> Peaks:
    return peaks(1)


@pytest.mark.timing
def test_peaks_are_plausible(here: Peaks) -> None:
    assert 1e9 < here.fp32_macs_per_s < 1e12
    assert here.int8_macs_per_s > here.fp32_macs_per_s
    rates = [level.bytes_per_s for level in here.memory]
    assert rates == sorted(rates, reverse=True)
    assert 1e9 < here.memory_bytes_per_s < 1e12
    assert Peaks.from_json(json.loads(json.dumps(here.to_json()))) == here
    assert peaks(1) is here


@pytest.mark.timing
@pytest.mark.parametrize("operator", ["MatMul", "MatMulInteger"])
def test_a_smaller_product_does_not_beat_the_peak(
    operator: str, here: Peaks, tmp_path: Path
) -> None:
    work = workloads.write(tmp_path, operator, side=128)
    assert work.macs == 128**3
    arguments = arguments_of(Candidate(work.file, work.feeds))
    (best_s,), _ = fastest([arguments], python=sys.executable)
    peak = here.fp32_macs_per_s if operator == "MatMul" else here.int8_macs_per_s
    assert work.macs / best_s < 1.1 * peak


@pytest.mark.timing
@pytest.mark.parametrize("name", ["float32", "int8"])
def test_a_real_network_stays_below_its_limit(name: str, network: Any, here: Peaks) -> None:
    taken = profile(getattr(network, name))
    found = roofline(taken, here)
    assert found.unknown == ()
    assert found.known_share == pytest.approx(1)
    assert 0 < (found.share or 0) < 1.1
    assert 0 < (found.call_share or 0) < 1.1
    console = Console(width=120, record=True)
    console.print(profile_table(taken, found))
    assert "GMAC/s" in console.export_text()

"""What trtexec prints is read; what is damaged gives no number that is not there."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from edgekd.benchmarks.layers.trtexec import Times, read_times
from edgekd.benchmarks.trtexec.output import Spread, check_times, percentile, read_output
from edgekd.errors import BadInput

SAMPLES = Path(__file__).parents[3] / "../shared/samples/trtexec"
REAL = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the samples of trtexec are not here")

STAMP = "[11/28/2026-12:00:00] [I]"
SPREAD = "min = 1 ms, max = 4 ms, mean = 2.5 ms, median = 2.5 ms, percentile(99%) = 4 ms"
RUN = f"""&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [b9] # trtexec --loadEngine=m.plan
{STAMP} Selected Device: NVIDIA Orin
{STAMP} Compute Capability: 8.7
{STAMP} Engine built in 31.5 sec.
{STAMP} Timing trace has 4 queries over 3.01 s
{STAMP} === Performance summary ===
{STAMP} Throughput: 400.5 qps
{STAMP} Latency: {SPREAD}
{STAMP} GPU Compute Time: {SPREAD}
{STAMP} Total Host Walltime: 3.01 s
{STAMP} Total GPU Compute Time: 0.01 s
[11/28/2026-12:00:00] [W] * GPU compute time is unstable, with coefficient of variance = 4.2%.
&&&& PASSED TensorRT.trtexec [TensorRT v101303] [b9] # trtexec --loadEngine=m.plan
{STAMP} a line after the end
"""


def test_by_hand() -> None:
    found = read_output(RUN)
    assert (found.version, found.passed) == ("10.13.3", True)
    assert (found.gpu, found.capability) == ("NVIDIA Orin", "8.7")
    assert (found.queries, found.throughput_qps, found.build_s) == (4, 400.5, 31.5)
    assert (found.wall_s, found.compute_s) == (3.01, 0.01)
    assert found.spreads["compute"] == found.spreads["latency"]
    assert found.spreads["latency"] == Spread(
        least_s=1e-3, most_s=4e-3, mean_s=2.5e-3, median_s=2.5e-3, percentiles_s={99.0: 4e-3}
    )
    assert found.warnings == ("GPU compute time is unstable, with coefficient of variance = 4.2%.",)


@pytest.mark.parametrize(
    "line",
    [
        SPREAD.replace("min = 1 ms", "min = inf ms"),
        SPREAD.replace("max = 4 ms", "max = nan ms"),
        SPREAD.replace("max = 4 ms, ", ""),
        SPREAD.replace("min = 1", "min = 5"),  # above the largest
        SPREAD.replace("median = 2.5", "median = 9"),
        SPREAD.replace("percentile(99%) = 4", "percentile(199%) = 4"),
        SPREAD.replace("mean = 2.5 ms", "mean = 2.5 s"),
        SPREAD + ", percentile(100%) = 3 ms",  # below the 99th
        SPREAD + ", more",
        SPREAD + ", min = 1 ms",
        "",
        "min = -1 ms, max = 4 ms",
    ],
)
def test_a_line_with_a_fault_gives_no_number(line: str) -> None:
    found = read_output(f"{STAMP} Latency: {line}")
    assert found.spreads.get("latency", Spread()) == Spread()


def test_what_is_said_twice_in_two_ways_is_not_known() -> None:
    again = RUN.replace("Throughput: 400.5", "Throughput: 40.5")
    found = read_output(RUN + again)
    assert found.throughput_qps is None
    assert found.wall_s == 3.01
    assert read_output(f"{STAMP} Throughput: inf qps").throughput_qps is None
    assert read_output("Throughput: 3 qps").throughput_qps is None  # not a line of trtexec
    assert read_output("") == read_output("nothing of the kind\n\0\ufffd")


@pytest.mark.parametrize(
    ("name", "version", "queries", "median_ms", "percentages"),
    [
        ("v8001_nano_summary", "8.0.1", 100, 39.9982, [99]),
        ("v8500_build_and_run", "8.5.0", 410, 7.32544, [90, 95, 99]),
        ("v100300_jetson_summary", "10.3.0", None, 3.14062, [90, 95, 99]),
    ],
)
@REAL
def test_real_runs(
    name: str, version: str, queries: int | None, median_ms: float, percentages: list[float]
) -> None:
    found = read_output((SAMPLES / f"{name}.log").read_text("utf8"))
    assert (found.version, found.passed, found.queries) == (version, True, queries)
    assert found.spreads["compute"].median_s == pytest.approx(median_ms / 1e3)
    assert list(found.spreads["compute"].percentiles_s) == percentages
    assert ("end_to_end" in found.spreads) == (version == "8.0.1")
    assert found.throughput_qps is not None
    assert found.wall_s is not None


def test_a_percentile_drops_the_slowest() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [percentile(values, p) for p in (0, 50, 90, 99, 100)] == [1, 50, 90, 100, 100]
    assert percentile(values * 2, 99) == 100
    assert percentile([3.0], 99) == 3.0
    assert percentile([1.0, 2.0], 50) == 1.0
    with pytest.raises(BadInput, match="at least one"):
        percentile([], 50)


@REAL
def test_the_percentile_of_a_real_run() -> None:
    """Of its first 742 queries; the whole file gives the 0.884766 ms that trtexec reported."""
    times = read_times(SAMPLES / "trex_timing_head.json")
    assert percentile(times.compute_s, 99) * 1e3 == pytest.approx(0.883728)


def times(*compute_s: float) -> Times:
    nothing = tuple(0.0 for _ in compute_s)
    return Times(h2d_s=nothing, compute_s=compute_s, d2h_s=nothing, latency_s=compute_s)


def test_a_summary_is_held_against_the_times() -> None:
    found = read_output(RUN)
    check_times(found, times(1e-3, 2e-3, 3e-3, 4e-3))
    with pytest.raises(BadInput, match="timed 4 queries and the file of its times has 3"):
        check_times(found, times(1e-3, 2e-3, 4e-3))
    with pytest.raises(BadInput, match="compute 4 ms is 5 ms there"):
        check_times(found, times(1e-3, 2e-3, 3e-3, 5e-3))
    with pytest.raises(BadInput, match=r"compute 1 ms is 1\.1 ms there"):
        check_times(found, times(1.1e-3, 2e-3, 3e-3, 4e-3))
    old = read_output(RUN.replace("v101303", "v8401"))
    check_times(old, times(1e-3, 2e-3))  # its file has the warm-up too


def numbers(text: str) -> set[float]:
    return {float(n) for n in re.findall(r"\d+(?:\.\d+)?(?:e[+-]\d{2})?", text)}


def read_numbers(text: str) -> set[float]:
    """Every number that was read, as it is printed."""
    found = read_output(text)
    plain = [found.queries, found.throughput_qps, found.wall_s, found.compute_s, found.build_s]
    spreads = [
        value * 1e3
        for spread in found.spreads.values()
        for value in (
            *(spread.least_s, spread.most_s, spread.mean_s, spread.median_s),
            *spread.percentiles_s.values(),
        )
        if value is not None
    ]
    return {round(float(v), 9) for v in (*plain, *spreads) if v is not None}


def damaged(text: str, generator: random.Random) -> str:
    odd = ("", "-", ".", "e+99", "inf", "nan", "9" * 30, "\n", "\0", " ms", "99", "\ufffd", "[I]")
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(text))
        length = generator.choice((0, 1, 1, 2, 30))
        other = generator.choice((*odd, text[at : at + 200], chr(generator.randrange(1, 0x2FF))))
        text = text[:at] + other + text[at + length :] or " "
    return text


def test_damage_never_crashes_and_invents_nothing() -> None:
    generator, read = random.Random(0), 0
    texts = [RUN]
    if SAMPLES.is_dir():
        texts += [file.read_text("utf8") for file in sorted(SAMPLES.glob("v*.log"))]
    for number in range(1500):
        spoiled = damaged(texts[number % len(texts)], generator)
        found = read_numbers(spoiled)
        there = {round(n, 9) for n in numbers(spoiled)}
        assert found <= there, found - there
        read += bool(found)
    assert read > 100

"""The gate: what pays stays, what does not goes, with the numbers that decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from edgekd.artifact import Variant
from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.gate import Fault, Findings, Promise, describe_speed, judge
from edgekd.options import Budget


def of(promise: Promise) -> Callable[[Variant], Promise]:
    """Promise the same of every variant."""
    return lambda _: promise


def findings(**changes: Any) -> Findings:
    """A stage that pays: 0.2 points lost, twice as fast, half the size."""
    base: dict[str, Any] = {
        "variant": "int8",
        "device": "local",
        "compared": ("int8", "fp32"),
        "unit": "points",
        "gain": Estimate(-0.2, -0.9, 0.5, 1000),
        "step_gain": Estimate(-0.1, -0.8, 0.6, 1000),
        "speedup": Estimate(2.0, 1.9, 2.1, 6),
        "steady": True,
        "shrink": 2.0,
    }
    return Findings(**{**base, **changes})


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(min_snr=30.0), ""),
        (Budget(min_snr=30.0, strict=True), "SNR 28.0 dB, at least 30 required"),
        (Budget(min_snr=35.0), "SNR 31.0 dB, at least 35 required"),
        (Budget(min_snr=30.0, min_agreement=99.0), "98.0 % agreement, at least 99 required"),
    ],
)
def test_a_floor_takes_the_place_of_the_drop(budget: Budget, reason: str) -> None:
    floored = {"min_snr": Estimate(31.0, 28.0, 34.0, 50), "min_agreement": Estimate(98, 90, 99, 50)}
    lost = Estimate(-119.0, -120.0, -118.0, 50)
    verdict = judge(of("faster"), [findings(floored=floored, gain=lost, unit="dB")], budget)
    assert verdict.reasons == ((reason,) if reason else ())
    assert verdict.faults == ({"quality"} if reason else set())
    assert verdict.text.endswith("SNR 31.0 dB, 98.0 % agreement" + (")" if reason else ""))


def test_a_stage_that_pays_is_kept() -> None:
    verdict = judge(of("faster"), [findings()], Budget(max_drop=1.0))
    assert verdict.kept
    assert verdict.reasons == ()
    assert (
        verdict.text
        == "2.00x faster [1.90, 2.10], -0.20 points relative to the teacher, no difference shown"
    )


@pytest.mark.parametrize(
    ("changes", "reason", "fault"),
    [
        ({"speedup": Estimate(0.5, 0.48, 0.52, 6)}, "slower", "slower"),
        ({"speedup": Estimate(1.02, 0.99, 1.05, 6)}, "gain not shown", "gain not shown"),
        ({"steady": False}, "no steady state", "gain not shown"),
        ({"gain": Estimate(-1.2, -2.0, -0.4, 1000)}, "1.20 points lost, 1 allowed", "quality"),
    ],
)
def test_a_stage_that_does_not_pay_goes_with_its_reason(
    changes: dict[str, Any], reason: str, fault: Fault
) -> None:
    verdict = judge(of("faster"), [findings(**changes)], Budget(max_drop=1.0))
    assert not verdict.kept
    assert reason in verdict.text
    assert verdict.faults == {fault}


def test_the_estimate_decides_unless_the_budget_is_strict() -> None:
    found = findings(gain=Estimate(-0.8, -1.5, -0.1, 1000))
    assert judge(of("faster"), [found], Budget(max_drop=1.0)).kept
    assert not judge(of("faster"), [found], Budget(max_drop=1.0, strict=True)).kept


def test_exactly_the_budget_is_within_it() -> None:
    found = findings(gain=Estimate(-1.0, -1.5, -0.5, 1000))
    assert judge(of("faster"), [found], Budget(max_drop=1.0)).kept


def test_without_speed_quality_alone_decides() -> None:
    verdict = judge(of("faster"), [findings(speedup=None)], Budget(max_drop=1.0))
    assert verdict.kept
    assert "speed not measured" in verdict.text


def test_smaller_and_better_are_held_to_their_own_promise() -> None:
    level = Estimate(1.0, 1.0, 1.0, 6)
    assert judge(of("smaller"), [findings(speedup=level)], Budget()).kept
    assert not judge(of("smaller"), [findings(speedup=level, shrink=0.9)], Budget()).kept
    assert not judge(of("better"), [findings(speedup=level)], Budget()).kept
    proven = Estimate(0.9, 0.2, 1.6, 1000)
    assert judge(of("better"), [findings(speedup=level, step_gain=proven)], Budget()).kept
    slower = Estimate(0.9, 0.85, 0.95, 6)
    assert not judge(of("better"), [findings(speedup=slower, step_gain=proven)], Budget()).kept


def test_a_stage_kept_by_order_says_so() -> None:
    slow = findings(speedup=Estimate(0.5, 0.48, 0.52, 6))
    verdict = judge(of("faster"), [slow], Budget(), kept_because="gate = false")
    assert verdict.kept
    assert "slower; kept because gate = false" in verdict.text


def test_a_slow_down_reads_as_one() -> None:
    assert describe_speed(Estimate(0.5, 0.4, 0.8, 6)) == "2.00x slower [1.25, 2.50]"


def test_of_several_variants_those_that_do_not_pay_are_dropped() -> None:
    slow = findings(variant="int8-xnnpack", speedup=Estimate(0.5, 0.48, 0.52, 6))
    verdict = judge(of("faster"), [findings(), slow], Budget())
    assert verdict.outcome == "kept"
    assert verdict.variants == ("int8",)
    assert verdict.reasons == ("int8-xnnpack: slower",)
    lost = "-0.20 points relative to the teacher, no difference shown"
    assert verdict.text == (
        f"int8 kept: 2.00x faster [1.90, 2.10], {lost}; "
        f"int8-xnnpack dropped: slower (2.00x slower [1.92, 2.08] (int8 against fp32), {lost})"
    )
    absent = replace(verdict, dropped=("int4: it has: no layer",))
    assert absent.text.endswith("; int4 not made: it has: no layer")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"speedup": Estimate(1.05, 0.97, 1.13, 6)}, "no difference in speed shown, 1.05x ["),
        ({"speedup": Estimate(1.0, 1.0, 1.0, 6)}, "equally fast, "),
        ({"gain": Estimate(4.0, -2.6, 10.29, 70)}, "+4.00 points relative to the teacher, no dif"),
        ({"gain": Estimate(-4.0, -6.0, -2.0, 70)}, "-4.00 points relative to the teacher"),
        ({"variant": "fp32", "compared": ("int8 preview",) * 2}, "2.10] (both int8 preview), "),
        (
            {"variant": "fp32", "compared": ("fp32", "int8 preview")},
            "2.10] (fp32 against int8 preview), ",
        ),
        ({"variant": "fp32", "compared": ("fp32", "fp32")}, "2.10], "),
    ],
)
def test_a_claim_follows_its_interval_and_names_what_was_compared(
    changes: dict[str, Any], words: str
) -> None:
    verdict = judge(of("faster"), [findings(**changes)], Budget(max_drop=9.0), kept_because="asked")
    assert words in verdict.text
    assert ("no difference" in verdict.text) == ("no dif" in words or "gain" not in changes)


def test_a_stage_without_a_variant_that_pays_is_rolled_back() -> None:
    slow = Estimate(0.5, 0.48, 0.52, 6)
    found = [findings(variant=variant, speedup=slow) for variant in ("int8", "int8-xnnpack")]
    verdict = judge(of("faster"), found, Budget())
    assert verdict.outcome == "rolled back"
    assert verdict.variants == ()
    assert verdict.reasons == ("int8: slower", "int8-xnnpack: slower")
    assert judge(of("faster"), found, Budget(), kept_because="gate = false").variants == (
        "int8",
        "int8-xnnpack",
    )


def test_for_a_device_that_is_not_here_quality_decides_and_speed_is_not_claimed() -> None:
    slow = findings(speedup=Estimate(0.5, 0.48, 0.52, 6))
    verdict = judge(of("faster"), [slow], Budget(max_drop=1.0), others={"int8": "pixel-8"})
    assert verdict.kept
    assert verdict.reasons == ()
    assert verdict.rulings[0].not_measured_on == "pixel-8"
    assert verdict.text.startswith("not measured on pixel-8; on local 2.00x slower [1.92, 2.08], ")
    wrong = findings(gain=Estimate(-3.0, -4.0, -2.0, 1000))
    assert not judge(of("faster"), [wrong], Budget(max_drop=1.0), others={"int8": "pixel-8"}).kept


def test_a_variant_of_another_runtime_is_judged_by_quality_and_not_timed() -> None:
    here = findings()
    there = findings(variant="int8-tensorrt", speedup=None, compared=("int8-tensorrt", "fp32"))
    verdict = judge(
        of("faster"), [here, there], Budget(max_drop=1.0), others={"int8-tensorrt": "TensorRT"}
    )
    assert verdict.variants == ("int8", "int8-tensorrt")
    assert [ruling.not_measured_on for ruling in verdict.rulings] == ["", "TensorRT"]
    assert verdict.text.endswith(
        "int8-tensorrt kept: not measured on TensorRT, -0.20 points relative "
        "to the teacher, no difference shown"
    )


def test_each_variant_has_its_own_promise() -> None:
    found = [
        findings(speedup=Estimate(1.0, 0.99, 1.01, 6)),
        findings(variant="int8-weights", speedup=Estimate(1.0, 0.99, 1.01, 6)),
    ]
    promises: dict[Variant, Promise] = {"int8": "faster", "int8-weights": "smaller"}
    assert judge(promises.__getitem__, found, Budget()).variants == ("int8-weights",)

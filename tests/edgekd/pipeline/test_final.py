"""What ships: the smallest of the files that are as fast as the fastest, and in time if one is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgekd.artifact import Artifact, Variant
from edgekd.benchmarks.stats import Estimate
from edgekd.evaluation.gate import REFERENCE, Ruling, Verdict
from edgekd.evaluation.results import Finalist
from edgekd.pipeline.final import Rung, choose, prefer_asked


def finalist(size_bytes: int, latency_ms: float | None, *, level: bool = True) -> Finalist:
    at = None if latency_ms is None else latency_ms / 1e3
    return Finalist(
        title=f"{size_bytes} bytes",
        label="fp32",
        variant="fp32",
        sha256="",
        size_bytes=size_bytes,
        latency_s=None if at is None else Estimate(at, at, at, 6),
        p90_s=None,
        speedup=None,
        level=level,
    )


@pytest.mark.parametrize(
    ("asked_ms", "ships"),
    [
        (None, "10 bytes"),  # as fast as the fastest, as far as one can tell
        (1.3, "10 bytes"),  # in time
        (1.1, "20 bytes"),  # the smallest is late
        (1.0, "30 bytes"),  # only the fastest is in time
        (0.9, "10 bytes"),  # none is in time
    ],
)
def test_of_files_in_time_the_smallest_ships(asked_ms: float | None, ships: str) -> None:
    files = [
        finalist(40, 9.0, level=False),
        finalist(30, 1.0),
        finalist(20, 1.05),
        finalist(10, 1.2),
        finalist(5, 2.0, level=False),
    ]
    asked_s = None if asked_ms is None else asked_ms / 1e3
    assert files[choose(files, asked_s)].title == ships


def made(variant: Any, size_bytes: int, latency_ms: float | None, *, level: bool) -> Finalist:
    return replace(finalist(size_bytes, latency_ms, level=level), variant=variant, label=variant)


@pytest.mark.parametrize(
    ("ship", "asked_ms", "chosen"),
    [
        ("fastest", None, 1),
        ("smallest", None, 3),
        ("smallest", 1.5, 2),  # of those in time
        ("smallest", 0.1, 3),  # none is in time
        (["int8"], None, 2),
        (["int8-xnnpack", "int8"], None, 3),
        (["fp16", "int8"], None, 2),  # the first of them that was kept
        (["fp32"], None, 1),
        (["fp16"], None, 1),  # none was kept: as if nothing had been asked for
        (["int8-tensorrt", "int8"], None, 4),  # for another runtime, if it is asked for by name
    ],
)
def test_what_is_asked_to_ship_ships_if_it_was_kept(
    ship: Any, asked_ms: float | None, chosen: int
) -> None:
    files = [
        made("fp32", 90, 2.0, level=False),
        made("fp32", 80, 1.0, level=True),
        made("int8", 30, 1.4, level=False),
        made("int8-xnnpack", 20, 1.9, level=False),
        replace(made("int8-tensorrt", 10, None, level=False), only_for="TensorRT"),
    ]
    asked_s = None if asked_ms is None else asked_ms / 1e3
    assert choose(files, asked_s, ship) == chosen
    if ship == "smallest" and asked_ms is None:
        assert choose([replace(f, latency_s=None) for f in files], None, ship) == chosen


def test_without_speeds_the_last_that_was_kept_ships() -> None:
    files = [finalist(10, None), finalist(30, None), finalist(20, None)]
    assert choose(files, 1e-3) == 2


@pytest.mark.parametrize(
    ("made_variants", "kept", "chosen"),
    [
        (["int8-tensorrt", "fp16"], ["int8-tensorrt", "fp16"], 1),  # nothing else was asked for
        (["int8", "int8-tensorrt"], ["int8-tensorrt"], 0),  # int8 was, and did not pay here
        (["int8", "int8-tensorrt"], ["int8", "int8-tensorrt"], 0),
    ],
)
def test_what_is_for_another_runtime_ships_if_nothing_else_was_asked_for(
    made_variants: list[Variant], kept: list[Variant], chosen: int
) -> None:
    rulings = tuple(
        Ruling(variant=variant, kept=variant in kept, numbers="") for variant in made_variants
    )
    rungs = [
        Rung("teacher", Artifact(Path(), {}), None, REFERENCE),
        Rung("quantize", Artifact(Path(), {}), None, Verdict(outcome="kept", rulings=rulings)),
    ]
    homes = {"int8-tensorrt": "TensorRT", "fp16": "CUDA"}
    files = [replace(made("fp32", 90, 1.0, level=True), title="teacher")] + [
        replace(
            made(variant, 30, None, level=False), title="quantize", only_for=homes.get(variant, "")
        )
        for variant in kept
    ]
    assert prefer_asked(rungs, files, 0) == chosen

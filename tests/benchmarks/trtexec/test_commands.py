"""The exact lines for each version, and what no line can say."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from edgekd.benchmarks.trtexec.commands import (
    Engine,
    Precision,
    Timing,
    build_command,
    options_of,
    time_command,
)
from edgekd.benchmarks.trtexec.shapes import Shapes
from edgekd.benchmarks.trtexec.versions import VERSIONS, version_of
from edgekd.errors import RecipeError

SHAPES = {"x": Shapes(least=(1, 3), usual=(2, 3), most=(8, 3))}
TIMING = Timing(times="t.json", profile="p.json", layers="l.json")


def engine(precision: Precision = "int8", **more: Any) -> Engine:
    return Engine(model="m.onnx", plan="m.plan", precision=precision, **{"shapes": {}, **more})


BUILD = {
    "8.0": "--int8 --fp16 --workspace=2048 --nvtxMode=verbose --buildOnly",
    "8.2": "--int8 --fp16 --workspace=2048 --profilingVerbosity=detailed --buildOnly",
    "8.5": "--int8 --fp16 --memPoolSize=workspace:2048 --profilingVerbosity=detailed --buildOnly",
    "8.6": "--int8 --fp16 --memPoolSize=workspace:2048 --profilingVerbosity=detailed --buildOnly",
    "10.3": (
        "--int8 --fp16 --memPoolSize=workspace:2048 --profilingVerbosity=detailed --skipInference"
    ),
    "10.13": (
        "--stronglyTyped --memPoolSize=workspace:2048 --profilingVerbosity=detailed --skipInference"
    ),
    "10.16": (
        "--stronglyTyped --memPoolSize=workspace:2048 --profilingVerbosity=detailed --skipInference"
    ),
    "11": "--memPoolSize=workspace:2048 --profilingVerbosity=detailed --skipInference",
}


@pytest.mark.parametrize("name", [v.name for v in VERSIONS])
def test_an_int8_engine_is_built_by(name: str) -> None:
    line = shlex.join(build_command(version_of(name), engine()))
    assert line == f"trtexec --onnx=m.onnx --saveEngine=m.plan {BUILD[name]}"


@pytest.mark.parametrize(
    ("name", "precision", "flags"),
    [
        ("8.5", "fp16", ["--fp16"]),
        ("10.3", "fp16", ["--stronglyTyped"]),
        ("10.3", "fp16-chosen", ["--fp16"]),
        ("11", "fp16", []),
        ("8.0", "fp32", ["--noTF32"]),
        ("11", "fp32", ["--noTF32"]),
    ],
)
def test_floats_are_built_by(name: str, precision: Precision, flags: list[str]) -> None:
    command = build_command(version_of(name), engine(precision))
    assert command[3 : 3 + len(flags)] == flags
    assert command[3 + len(flags)].startswith(("--memPoolSize", "--workspace"))


def test_shapes_and_the_cache_of_kernels() -> None:
    command = build_command(version_of("10.3"), engine(shapes=SHAPES, timing_cache="k.cache"))
    assert command[5:9] == [
        "--minShapes=x:1x3",
        "--optShapes=x:2x3",
        "--maxShapes=x:8x3",
        "--timingCacheFile=k.cache",
    ]


@pytest.mark.parametrize("name", [v.name for v in VERSIONS])
def test_an_engine_is_timed_as_an_app_would_run_it(name: str) -> None:
    options = options_of(time_command(version_of(name), engine(shapes=SHAPES), TIMING))
    asked = {"--useCudaGraph", "--noDataTransfers", "--useSpinWait", "--separateProfileRun"}
    assert asked & set(options) == (set() if name == "11" else asked)
    assert ("--exportLayerInfo" in options) == (name != "8.0")
    assert {"--shapes", "--exportTimes", "--exportProfile", "--warmUp"} <= set(options)


def test_the_line_that_times() -> None:
    line = shlex.join(time_command(version_of("11"), engine(shapes=SHAPES), TIMING))
    assert line == (
        "trtexec --loadEngine=m.plan --shapes=x:2x3 --warmUp=500 --duration=10 --iterations=200 "
        "--avgRuns=1 --percentile=50,90,95,99 --exportTimes=t.json --exportProfile=p.json "
        "--exportLayerInfo=l.json"
    )


def test_float16_by_choice_ends_with_11() -> None:
    with pytest.raises(RecipeError, match="11 computes in the types of the file"):
        build_command(version_of("11.3"), engine("fp16-chosen"))


@pytest.mark.parametrize("name", ["a b", "a:0", "/in/x", "x;rm -rf", "$(date)", 'q"', "ü", "a=b"])
def test_odd_names_reach_trtexec_whole(name: str) -> None:
    """A shell gives back what was written, and trtexec splits at the first = and the last colon."""
    command = build_command(version_of("8.5"), engine(shapes={name: SHAPES["x"]}))
    assert shlex.split(shlex.join(command)) == command
    (word,) = (w for w in command if w.startswith("--minShapes"))
    spec = word.partition("=")[2]
    assert spec.rpartition(":")[::2] == (name, "1x3")


@pytest.mark.parametrize("name", ["a,b", "it's"])
def test_names_that_trtexec_would_split_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match="rename that input"):
        build_command(version_of("8.5"), engine(shapes={name: SHAPES["x"]}))

"""The command lines of trtexec: build an engine, then time it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgekd.benchmarks.trtexec.shapes import Shapes
from edgekd.benchmarks.trtexec.versions import Version
from edgekd.errors import RecipeError

Precision = Literal["int8", "fp16", "fp16-chosen", "fp32"]
"""The types in the file; "fp16-chosen": float32, and TensorRT takes float16 where it likes."""
WORKSPACE_MIB = 2048
"""Boards share their memory with the processor; TensorRT would take all of it."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine that is to be built and timed; all paths as the device sees them."""

    model: str
    """The ONNX file."""
    plan: str
    """The file that the engine is written to."""
    precision: Precision
    shapes: Mapping[str, Shapes]
    """Of inputs with a free axis; the engine is timed at the usual ones."""
    timing_cache: str = ""
    """What was learned of kernels on this device; "": it is not kept."""
    workspace_mib: int = WORKSPACE_MIB


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long an engine is timed, and where the results go."""

    times: str
    profile: str
    layers: str
    warmup_ms: int = 500
    duration_s: int = 10
    least_queries: int = 200


def build_command(version: Version, engine: Engine, *, program: str = "trtexec") -> list[str]:
    """Return the arguments that build an engine and time nothing.

    Raises:
        RecipeError: an input's name cannot be given to trtexec, or the version does not choose
            types itself.
    """
    flags = {
        "int8": version.int8,
        "fp16": version.fp16,
        "fp16-chosen": version.fp16_chosen,
        "fp32": version.fp32,
    }[engine.precision]
    if flags is None:
        raise RecipeError(
            f"TensorRT {version.name} computes in the types of the file; for float16 give it a "
            'file with float16 weights: variants = [..., "fp16"]'
        )
    cache = [f"--timingCacheFile={engine.timing_cache}"] if engine.timing_cache else []
    return [
        program,
        f"--onnx={engine.model}",
        f"--saveEngine={engine.plan}",
        *flags,
        *_ranges(engine.shapes),
        *cache,
        version.workspace.format(engine.workspace_mib),
        version.detailed,
        version.only_build,
    ]


def time_command(
    version: Version, engine: Engine, timing: Timing, *, program: str = "trtexec"
) -> list[str]:
    """Return the arguments that time an engine which was built.

    Raises:
        RecipeError: an input's name cannot be given to trtexec.
    """
    usual = {name: shapes.usual for name, shapes in engine.shapes.items()}
    layers = [f"--exportLayerInfo={timing.layers}"] if version.has_layer_info else []
    return [
        program,
        f"--loadEngine={engine.plan}",
        *([f"--shapes={_listed(usual)}"] if usual else []),
        f"--warmUp={timing.warmup_ms}",
        f"--duration={timing.duration_s}",
        f"--iterations={timing.least_queries}",
        "--avgRuns=1",
        version.percentiles,
        *version.like_an_app,
        f"--exportTimes={timing.times}",
        f"--exportProfile={timing.profile}",
        *layers,
        *version.profile_apart,
    ]


def options_of(command: Sequence[str]) -> list[str]:
    """Return the names of the options in a command, as in "--onnx"."""
    return [word.partition("=")[0] for word in command[1:]]


def _ranges(shapes: Mapping[str, Shapes]) -> list[str]:
    if not shapes:
        return []
    return [
        f"--minShapes={_listed({name: s.least for name, s in shapes.items()})}",
        f"--optShapes={_listed({name: s.usual for name, s in shapes.items()})}",
        f"--maxShapes={_listed({name: s.most for name, s in shapes.items()})}",
    ]


def _listed(shapes: Mapping[str, Sequence[int]]) -> str:
    """Return "x:1x3x224x224,mask:1x224", the names as they are: trtexec splits at the last colon.

    It would split a name at a comma and take single quotes out of it.
    """
    for name in shapes:
        if "," in name or "'" in name:
            raise RecipeError(
                f"trtexec cannot be told the shape of an input called {name!r}, for it ends a "
                "name at a comma and removes quotes; rename that input and export the file again"
            )
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())

"""What each version of TensorRT calls its options: one row a version that changed some.

Facts from NVIDIA/TensorRT samples/common/sampleOptions.cpp at the tags of these versions, and
the operator sets from docs/operators.md of onnx/onnx-tensorrt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from edgekd.errors import RecipeError, few


@dataclass(frozen=True, kw_only=True)
class Version:
    """The options of trtexec from one version on, until the next row of the table."""

    major: int
    minor: int
    highest_opset: int
    """The newest operator set of ONNX that its parser reads."""
    workspace: str
    """How many MiB a tactic may use besides weights and activations."""
    only_build: str
    detailed: str
    """Keeps the types of layers in an engine."""
    has_layer_info: bool
    percentiles: str
    int8: tuple[str, ...]
    """For a file with Q/DQ. --int8 --fp16 lets the rest of it run in float16."""
    fp16: tuple[str, ...]
    """For a file with float16 weights."""
    fp16_chosen: tuple[str, ...] | None
    """For a file with float32 weights, in float16 where TensorRT likes; None: it cannot."""
    fp32: tuple[str, ...]
    like_an_app: tuple[str, ...]
    """Makes timings comparable between versions: a CUDA graph, no copies, no sleep."""
    profile_apart: tuple[str, ...]
    """Keeps the profiler out of the timed calls."""

    @property
    def name(self) -> str:
        """As in "10.3"; "11" for the row of all of 11."""
        return f"{self.major}.{self.minor}" if self.minor or self.major < 11 else f"{self.major}"


_WEAK = ("--int8", "--fp16")
_V8_0 = Version(
    major=8,
    minor=0,
    highest_opset=13,
    workspace="--workspace={}",
    only_build="--buildOnly",
    detailed="--nvtxMode=verbose",
    has_layer_info=False,
    percentiles="--percentile=99",  # takes one number
    int8=_WEAK,
    fp16=("--fp16",),
    fp16_chosen=("--fp16",),
    fp32=("--noTF32",),
    like_an_app=("--useCudaGraph", "--noDataTransfers", "--useSpinWait"),
    profile_apart=("--separateProfileRun",),
)
_V8_2 = replace(_V8_0, minor=2, detailed="--profilingVerbosity=detailed", has_layer_info=True)
_V8_5 = replace(
    _V8_2,
    minor=5,
    highest_opset=17,
    workspace="--memPoolSize=workspace:{}",
    percentiles="--percentile=50,90,95,99",
)
_V8_6 = replace(_V8_5, minor=6)
_V10_3 = replace(
    _V8_6,
    major=10,
    minor=3,
    highest_opset=20,
    only_build="--skipInference",
    # A file with float16 weights says itself what must stay float32.
    fp16=("--stronglyTyped",),
)
_V10_13 = replace(_V10_3, minor=13, highest_opset=24, int8=("--stronglyTyped",))
_V10_16 = replace(_V10_13, minor=16)
_V11 = replace(
    _V10_16,
    major=11,
    minor=0,
    highest_opset=25,
    # Types are always those of the file; what the other options asked for is the default.
    int8=(),
    fp16=(),
    fp16_chosen=None,
    like_an_app=(),
    profile_apart=(),
)
VERSIONS = (_V8_0, _V8_2, _V8_5, _V8_6, _V10_3, _V10_13, _V10_16, _V11)
"""In order. What lies between two rows takes the options of the lower one."""

BOARDS = {
    "jetson-nano": ("8.2", "JetPack 4.6.1 and later 4.6"),
    "jetson-tx2": ("8.2", "JetPack 4.6.1 and later 4.6"),
    "jetson-xavier": ("8.5", "JetPack 5.1"),
    "jetson-orin": ("10.3", "JetPack 6.1 and 6.2; JetPack 7.2 has 10.16"),
    "jetson-orin-nano": ("10.3", "JetPack 6.1 and 6.2; JetPack 7.2 has 10.16"),
    "jetson-orin-nx": ("10.3", "JetPack 6.1 and 6.2; JetPack 7.2 has 10.16"),
    "jetson-agx-orin": ("10.3", "JetPack 6.1 and 6.2; JetPack 7.2 has 10.16"),
    "jetson-thor": ("10.13", "JetPack 7.0 and 7.1"),
    "jetpack-4.6": ("8.2", "4.6.1 and later; 4.6 itself has 8.0"),
    "jetpack-5.1": ("8.5", "not verified at its source"),
    "jetpack-6.0": ("8.6", "not verified at its source"),
    "jetpack-6.1": ("10.3", ""),
    "jetpack-6.2": ("10.3", ""),
    "jetpack-7.0": ("10.13", ""),
    "jetpack-7.2": ("10.16", ""),
}
"""Board or JetPack -> its TensorRT, and what to know of that."""


def found_on(version: Version) -> str:
    """Return the releases of JetPack that have a version, as in "JetPack 6.1, 6.2"; or ""."""
    names = [n for n, (v, _) in BOARDS.items() if v == version.name and n.startswith("jetpack-")]
    return "JetPack " + ", ".join(n.removeprefix("jetpack-") for n in names) if names else ""


def version_of(name: str) -> Version:
    """Return the options of a version such as "10.3", "8.6.1" or "11".

    Raises:
        RecipeError: there is no such version, or none of its kind is known.
    """
    match = re.fullmatch(r"(\d{1,3})(?:\.(\d{1,3}))?(?:\.\d+){0,3}", name)
    if match is None:
        raise RecipeError(f"{name!r} is no version of TensorRT; give one such as {_names()}")
    major, minor = int(match[1]), int(match[2] or 0)
    if major == 10 and match[2] is None:
        minor = 3
    older = [v for v in VERSIONS if v.major == major and v.minor <= minor]
    if not older:
        raise RecipeError(
            f"the options of TensorRT {name} are not known here; known are {_names()}"
        )
    return older[-1]


def version_in_banner(text: str) -> str | None:
    """Return the version that trtexec names in its first line, as in "10.3.0".

    `[TensorRT v8503]` is 8.5.3, `[TensorRT v100300]` is 10.3.0. None: there is no such line, or
    the number cannot be one.
    """
    match = re.search(r"(?m)^&&&& [A-Z]+ TensorRT\.trtexec \[TensorRT v(\d{4,6})\]", text)
    if match is None:
        return None
    number = int(match[1])
    unit = 1000 if number < 10_000 else 10_000
    major, rest = divmod(number, unit)
    if not 5 <= major <= 99 or number < 5000:
        return None
    return f"{major}.{rest // 100}.{rest % 100}"


def _names() -> str:
    return ", ".join(version.name for version in VERSIONS)


def target_version(target: str) -> tuple[Version, str]:
    """Return the version behind `tensorrt-10.3`, `tensorrt-11` or a board, and what to know of it.

    Raises:
        RecipeError: it is neither.
    """
    if target in BOARDS:
        name, note = BOARDS[target]
        return version_of(name), note
    if target.startswith("tensorrt-"):
        return version_of(target.removeprefix("tensorrt-")), ""
    raise RecipeError(
        f"the target {target!r} is unknown; known are tensorrt-VERSION ({_names()}) and "
        f"{few(sorted(BOARDS))}"
    )

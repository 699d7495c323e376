"""Read what trtexec prints: its version, the summary, and why it failed.

Lines as in NVIDIA/TensorRT samples/common/sampleReporting.cpp, 8.0 to 11.1. What it prints is
untrusted: a number that cannot be read, or that contradicts another, is None, never a guess.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

import numpy as np

from edgekd.benchmarks.layers.trtexec import Times
from edgekd.benchmarks.trtexec.versions import version_in_banner
from edgekd.errors import BadInput

_Value = TypeVar("_Value")

ROUNDING = 1e-4  # relative; trtexec prints six digits

_PREFIX = re.compile(r"^\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] (?:\[TRT\] )?\[([IWEV])\] ?(.*)$")
_NUMBER = r"\d{1,12}(?:\.\d{1,9})?(?:e[+-]\d{2})?"
_PART = re.compile(rf"(min|max|mean|median|percentile\((\d{{1,3}}(?:\.\d+)?)%\)) = ({_NUMBER}) ms")
_QUANTITIES = {
    "Latency": "latency",
    "End-to-End Host Latency": "end_to_end",
    "Enqueue Time": "enqueue",
    "H2D Latency": "h2d",
    "GPU Compute Time": "compute",
    "D2H Latency": "d2h",
}
_PLAIN = {
    "throughput_qps": re.compile(rf"Throughput: ({_NUMBER}) qps"),
    "wall_s": re.compile(rf"Total Host Walltime: ({_NUMBER}) s"),
    "compute_s": re.compile(rf"Total GPU Compute Time: ({_NUMBER}) s"),
    "queries": re.compile(r"Timing trace has (\d{1,12}) queries over .*"),
    "build_s": re.compile(rf"Engine built in ({_NUMBER}) sec\.?"),
}
_TEXTS = {
    "gpu": re.compile(r"Selected Device: (.+)"),
    "capability": re.compile(r"Compute Capability: (\d{1,2}\.\d)"),
}


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One line of the summary, in seconds. None: it could not be read."""

    least_s: float | None = None
    most_s: float | None = None
    mean_s: float | None = None
    median_s: float | None = None
    percentiles_s: Mapping[float, float] = field(default_factory=dict)
    """By percentage; how many there are differs between versions."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """What one run of trtexec printed. None: it did not, or it could not be read."""

    version: str | None = None
    passed: bool | None = None
    gpu: str | None = None
    capability: str | None = None
    queries: int | None = None
    throughput_qps: float | None = None
    wall_s: float | None = None
    compute_s: float | None = None
    build_s: float | None = None
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    """By latency, compute, h2d, d2h, enqueue and, until 8.2, end_to_end."""
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


def read_output(text: str) -> Output:
    """Return what a run of trtexec printed, stdout and stderr together; nothing is raised."""
    levels = [match.groups() for line in text.splitlines() if (match := _PREFIX.match(line))]
    told = [words for level, words in levels if level == "I"]
    numbers: dict[str, float | None] = {}
    texts: dict[str, str | None] = {}
    spreads: dict[str, Spread | None] = {}
    for words in told:
        name, colon, rest = words.partition(": ")
        if colon and name in _QUANTITIES:
            _note(spreads, _QUANTITIES[name], _read_spread(rest))
        for key, pattern in _PLAIN.items():
            if match := pattern.fullmatch(words.strip()):
                _note(numbers, key, float(match[1]))
        for key, pattern in _TEXTS.items():
            if match := pattern.fullmatch(words.strip()):
                _note(texts, key, match[1].strip())
    ends = re.findall(r"(?m)^&&&& (PASSED|FAILED) TensorRT\.trtexec ", text)
    queries = numbers.get("queries")
    return Output(
        version=version_in_banner(text),
        passed=ends[-1] == "PASSED" if ends else None,
        gpu=texts.get("gpu"),
        capability=texts.get("capability"),
        queries=None if queries is None else int(queries),
        throughput_qps=numbers.get("throughput_qps"),
        wall_s=numbers.get("wall_s"),
        compute_s=numbers.get("compute_s"),
        build_s=numbers.get("build_s"),
        spreads={key: spread for key, spread in spreads.items() if spread is not None},
        warnings=_said(levels, "W"),
        errors=_said(levels, "E"),
    )


def _note(found: dict[str, _Value | None], key: str, value: _Value) -> None:
    """Keep a value; what is said twice in two ways is not known."""
    found[key] = value if key not in found or found[key] == value else None


def _said(levels: Sequence[tuple[str, ...]], wanted: str) -> tuple[str, ...]:
    """Return the lines of one level, without the stars that mark some."""
    found = (
        words.strip().removeprefix("[TRT] ").removeprefix("* ")
        for level, words in levels
        if level == wanted
    )
    return tuple(dict.fromkeys(words for words in found if words))


def _read_spread(words: str) -> Spread:
    """Return the numbers of a line whose parts are all as trtexec writes them.

    A line with one part that is not understood, or with parts out of order, gives no number.
    """
    names = {"min": "least_s", "max": "most_s", "mean": "mean_s", "median": "median_s"}
    found: dict[str, float] = {}
    percentiles: dict[float, float] = {}
    for part in words.strip().split(", "):
        match = _PART.fullmatch(part)
        if match is None:
            return Spread()
        value_s = float(match[3]) / 1e3
        if match[2] is not None:
            percentiles[float(match[2])] = value_s
        elif names[match[1]] in found:
            return Spread()
        else:
            found[names[match[1]]] = value_s
    spread = Spread(**found, percentiles_s=percentiles)
    return spread if _in_order(spread) else Spread()


def _in_order(spread: Spread) -> bool:
    """Whether no number of a line contradicts another."""
    least, most = spread.least_s, spread.most_s
    if least is None or most is None:
        return False
    ordered = [value for _, value in sorted(spread.percentiles_s.items())]
    inside = [v for v in (spread.mean_s, spread.median_s, *ordered) if v is not None]
    slack = ROUNDING * most
    return (
        all(least - slack <= value <= most + slack for value in inside)
        and ordered == sorted(ordered)
        and all(0 <= percentage <= 100 for percentage in spread.percentiles_s)
    )


def percentile(values: Sequence[float], percentage: float) -> float:
    """Return the percentile that trtexec reports of these values: it drops the slowest ones.

    It counts them in single precision: of 100 values the 90th percentage drops ten, the 99th none.

    Raises:
        BadInput: there are no values.
    """
    if not values:
        raise BadInput("a percentile needs at least one value; got none")
    share = np.float32(1) - np.float32(percentage) / np.float32(100)
    dropped = int(share * np.float32(len(values)))
    return sorted(values)[max(len(values) - 1 - dropped, 0)]


def check_times(output: Output, times: Times) -> None:
    """Compare the summary with the times of every query, from which it was made.

    Until TensorRT 8.4 the times contain the warm-up, so that nothing can be compared.

    Raises:
        BadInput: they contradict each other, so they are of two runs, or were changed.
    """
    if output.version is None or tuple(map(int, output.version.split(".")[:2])) < (8, 5):
        return
    if output.queries not in (None, len(times.latency_s)):
        raise BadInput(
            f"trtexec says that it timed {output.queries} queries and the file of its times has "
            f"{len(times.latency_s)}; give the files and the text of one run"
        )
    for name in (one.name.removesuffix("_s") for one in fields(Times)):
        spread, values = output.spreads.get(name), getattr(times, f"{name}_s")
        if spread is None or not values:
            continue
        pairs = [(spread.least_s, min(values)), (spread.most_s, max(values))]
        pairs += [(v, percentile(values, p)) for p, v in spread.percentiles_s.items()]
        for said, is_s in pairs:
            if said is not None and not math.isclose(said, is_s, rel_tol=ROUNDING, abs_tol=1e-9):
                raise BadInput(
                    f"the summary of trtexec contradicts its times: {name} {said * 1e3:g} ms is "
                    f"{is_s * 1e3:g} ms there; give the files and the text of one run"
                )

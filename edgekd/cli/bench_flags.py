"""Parse the values of the flags of `edgekd bench`."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from edgekd.errors import RecipeError
from edgekd.wording import flag

if TYPE_CHECKING:
    from edgekd.benchmarks.bench import Inputs
    from edgekd.benchmarks.history.guard import Guard
    from edgekd.benchmarks.measurement import Setup, Timing

MOST_PERCENT = 1000
LEAST_ROUNDS, MOST_ROUNDS = 3, 100
LEAST_HZ = 0.01


def parse_timing(
    rate: float | None, precision: str, time: str, rounds: int, *, parts: bool
) -> Timing:
    """Read how long to time.

    Raises:
        RecipeError: a number or its unit cannot be read.
    """
    from edgekd.benchmarks.measurement import Timing

    if not LEAST_ROUNDS <= rounds <= MOST_ROUNDS:
        raise RecipeError(
            f"{flag('rounds', rounds)} is invalid; write a number from {LEAST_ROUNDS} to "
            f"{MOST_ROUNDS}"
        )
    timing = Timing(
        rounds=rounds,
        time_limit_s=_positive("time", time, {"s": 1.0, "ms": 1e-3, "min": 60.0, "": 1.0}),
        precision=_positive("precision", precision, {"%": 0.01, "": 1.0}),
        parts=parts,
    )
    if rate is None:
        return timing
    if not rate >= LEAST_HZ:
        raise RecipeError(f"{flag('rate', rate)} is invalid; write {LEAST_HZ:g} or more")
    return replace(timing, rate_hz=rate, blocks=4, block_s=max(0.5, 20 / rate))


def _positive(name: str, text: str, units: dict[str, float]) -> float:
    """Read a positive number with one of the units."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-z%]*)\s*", text.lower())
    if match is None or match[2] not in units or not float(match[1]):
        known = ", ".join(f"2{unit}" for unit in units if unit)
        raise RecipeError(f"{flag(name, text)} is invalid; write a number such as {known}")
    return float(match[1]) * units[match[2]]


def parse_guard(
    slower: str,
    larger: str,
    memory: str,
    *,
    allow_drop: float | None,
    labels: Path | None,
    min_agreement: float | None,
    unlike_names: bool,
) -> Guard:
    """Read what a file may cost against the stored one.

    Raises:
        RecipeError: a share cannot be read, or of labels and their limit one is missing.
    """
    from edgekd.benchmarks.history.guard import Guard

    if labels is not None and allow_drop is None:
        raise RecipeError(
            "--labels gives the right answers; say with --allow-drop how many points of accuracy "
            "may be lost, such as --allow-drop 0.5"
        )
    if allow_drop is not None and labels is None:
        raise RecipeError("--allow-drop needs the right answers; give --labels FILE.npy")
    return Guard(
        slower=_share("--allow", slower) or 0.0,
        larger=_share("--allow-size", larger),
        memory=_share("--allow-memory", memory),
        drop=allow_drop,
        labels=labels,
        agreement=min_agreement,
        unlike_names=unlike_names,
    )


def _share(option: str, text: str) -> float | None:
    """Read a share in per cent; None if there is none."""
    if not text:
        return None
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*%\s*", text)
    if match is None or float(match[1]) > MOST_PERCENT:
        raise RecipeError(
            f"{option} {text} is invalid; write per cent from 0% to {MOST_PERCENT}%, such as "
            f"{option} 3%"
        )
    return float(match[1]) / 100


def parse_setups(
    runtime: str, provider: str, threads: str, streams: str, options: list[str]
) -> list[Setup]:
    """Read the setups: every runtime with every provider, threads and streams.

    Raises:
        RecipeError: an option, a count or a provider cannot be read.
    """
    from edgekd.benchmarks.measurement import Setup
    from edgekd.benchmarks.runtimes.providers import provider_name

    pairs = []
    for text in options:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise RecipeError(f"{flag('option', text)} is invalid; write KEY=VALUE")
        pairs.append((key, value))
    axes = [
        _words(runtime) or ["onnxruntime"],
        _words(provider) or [""],
        _counts("threads", threads),
        _counts("streams", streams),
    ]
    return [
        Setup(name, provider_name(name, place), int(inner), int(outer), tuple(pairs))
        for name, place, inner, outer in product(*axes)
    ]


def parse_inputs(
    feeds: Path | None,
    shape: list[str],
    batch: str,
    pipeline: Path | None,
    *,
    per_sample: bool = False,
) -> Inputs:
    """Read the inputs of the files.

    Raises:
        RecipeError: a shape or a count cannot be read, or the pipeline is not there.
    """
    from edgekd.benchmarks.bench import Inputs

    if pipeline is not None and not pipeline.is_file():
        raise RecipeError(f"{flag('pipeline', str(pipeline))} does not exist; give a Python file")
    batches = tuple(int(count) for count in _counts("batch", batch)) if batch else ()
    return Inputs(feeds, parse_shapes(shape), batches, pipeline, per_sample)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _counts(name: str, text: str) -> list[str]:
    """Read 1,2,4; every number is at least 1 and at most 256."""
    words = _words(text)
    if not words or not all(word.isdecimal() and 1 <= int(word) <= 256 for word in words):
        raise RecipeError(
            f"{flag(name, text)} is invalid; write whole numbers from 1 to 256, such as 1,2,4"
        )
    return list(dict.fromkeys(words))


def parse_shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Read NAME=1x3x224x224; the last = counts, names may contain others.

    Raises:
        RecipeError: one is not of this form.
    """
    shapes = {}
    for text in texts:
        name, equals, dims = text.rpartition("=")
        parts = dims.lower().replace(",", "x").split("x")
        if not (equals and name and all(part.isdecimal() and int(part) for part in parts)):
            raise RecipeError(
                f"{flag('shape', text)} is invalid; write NAME=1x3x224x224 for an input, "
                "or NAME=64 for a free axis"
            )
        shapes[name] = tuple(int(part) for part in parts)
    return shapes


def check_free_file(option: str, wanted: str | Path | None) -> Path | None:
    """Return the file to write, checked before the work and not after it.

    Raises:
        RecipeError: it exists already, or there is no folder for it.
    """
    if wanted is None or str(wanted) == "-":
        return None
    path = Path(wanted)
    if path.exists():
        raise RecipeError(f"{option} {path} exists already and is not overwritten; remove it first")
    if not path.parent.is_dir():
        raise RecipeError(f"{option} {path} cannot be written: there is no folder {path.parent}")
    return path

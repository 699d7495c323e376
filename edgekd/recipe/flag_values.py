"""Read the values of flags that stand for several keys: --size, --normalize, --only, --no-prune."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from edgekd.artifact import FP32, Variant
from edgekd.errors import RecipeError
from edgekd.store import locate
from edgekd.tasks import REFERENCE
from edgekd.teacher.hf import PREFIX
from edgekd.wording import flag, option

STEPS = ("distill", "prune", "quantize")
"""What the flags can ask for, in this order."""
_WITH_PATHS = ("model", "data", "weights", "student", "tokenizer", "task")
"""The flags whose values are paths, or names of what comes with edgekd."""
Pixels = float | tuple[float, ...]
"""Per channel, in pixel units 0..255."""
NORMALIZATIONS: dict[str, tuple[Pixels, Pixels]] = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "0..1": (0.0, 255.0),
    "-1..1": (127.5, 127.5),
    "none": (0.0, 1.0),
}
"""Name -> mean and std."""


def parse_size(value: object) -> int | list[int]:
    """Return one side in pixels, or [height, width], from 224, "224", "224x320" or (224, 320).

    Raises:
        RecipeError: it is none of these.
    """
    parts: list[object] = list(value) if isinstance(value, (list, tuple)) else [value]
    if isinstance(value, str):
        parts = list(re.split(r"\s*[x*,]\s*", value.strip().lower().removesuffix("px").strip()))
    texts = [str(part) for part in parts]
    if len(texts) > 2 or not all(re.fullmatch(r"[0-9]+", text) for text in texts):
        raise RecipeError(
            f"{option('data.size')}: got {value!r}, expected one side in pixels, or height and "
            f"width: {option('data.size', 224)} or {option('data.size', '224x320')}"
        )
    sides = [int(text) for text in texts]
    return sides[0] if len(sides) == 1 else sides


def parse_normalize(value: object) -> tuple[Pixels, Pixels]:
    """Return mean and std in pixel units 0..255, from a name or from numbers.

    Numbers are one mean and one std, or three of each. Where none is above 1 they count in units of
    the pixels' range, 0..1, as torchvision writes them; else in pixel units.

    Raises:
        RecipeError: neither, or numbers that may mean both.
    """
    if isinstance(value, str) and value.strip().lower() in NORMALIZATIONS:
        return NORMALIZATIONS[value.strip().lower()]
    numbers = _numbers(value)
    half = len(numbers) // 2
    if len(numbers) not in (2, 6) or min(numbers[half:]) <= 0:
        names = ", ".join(NORMALIZATIONS)
        example = option("normalize", "0.485,0.456,0.406,0.229,0.224,0.225")
        raise RecipeError(
            f"{option('normalize')}: got {value!r}, expected {names}, or the means and then the "
            f"deviations (above 0) of 1 or 3 channels: {example}"
        )
    mean, std = numbers[:half], numbers[half:]
    if set(mean) == {0.0} and set(std) == {1.0}:
        raise RecipeError(
            f"{option('normalize')}: mean 0 and std 1 may mean pixels of 0..1 or of 0..255; say "
            f"which: {option('normalize', '0..1')} or {option('normalize', 'none')}"
        )
    unit = 255.0 if max(map(abs, numbers)) <= 1 else 1.0
    scaled = [tuple(round(number * unit, 4) for number in part) for part in (mean, std)]
    if half == 1:
        return scaled[0][0], scaled[1][0]
    return scaled[0], scaled[1]


def _numbers(value: object) -> list[float]:
    """Return the numbers of "0.5,0.5", (0.5, 0.5) or ((a, b, c), (d, e, f)); none if it is not."""
    if isinstance(value, str):
        parts: list[object] = list(re.split(r"[\s,;]+", value.strip().strip("[]()")))
    elif isinstance(value, (list, tuple)):
        parts = [
            one for part in value for one in (part if isinstance(part, (list, tuple)) else [part])
        ]
    else:
        return []
    try:
        return [float(str(part)) for part in parts]
    except ValueError:
        return []


def seen_from(folder: Path, flag: str, value: Any) -> Any:
    """Return a path of the command line as one that counts from the folder of a recipe.

    Args:
        folder: of the recipe.
        flag: with underscores; most have no path.
        value: of the flag.
    """
    from edgekd.data.source import KNOWN_DATA

    if flag not in _WITH_PATHS or value is None:
        return value
    if flag == "model" and value.startswith(PREFIX):
        inner = value.removeprefix(PREFIX)
        is_here = locate(inner).is_dir() and not locate(inner).is_absolute()
        return PREFIX + os.path.relpath(inner, folder) if is_here else value
    path, function = value, ""
    if flag != "weights" and (match := re.fullmatch(r"(.+):([A-Za-z_]\w*)", value)):
        path, function = match[1], f":{match[2]}"
    named = bool(function) and not path.endswith(".py")  # a module
    named |= value in KNOWN_DATA or value.startswith("cache:") or (flag == "task" and not function)
    if named or locate(path).is_absolute():
        return value
    return os.path.relpath(path, folder) + function


def choose_task(*, task: str | None = None, no_labels: bool | None = None) -> str | None:
    """Return the task that the flags stand for; None where they leave it open.

    Raises:
        RecipeError: a task that judges by labels, and none are to be read.
    """
    if not no_labels:
        return task
    if task not in (None, REFERENCE):
        raise RecipeError(
            f"{flag('task', task)} judges by labels, and {flag('no_labels', True)} leaves them "
            "out; give one of them"
        )
    return REFERENCE


def choose_steps(
    *,
    only: object = None,
    no_distill: bool = False,
    no_prune: bool = False,
    no_quantize: bool = False,
) -> tuple[str, ...]:
    """Return the names of the steps that are wanted, in order.

    Raises:
        RecipeError: a name is not a step's, or nothing is left.
    """
    wanted = list(STEPS) if only is None else _named(only)
    left_out = [
        name for name, off in zip(STEPS, (no_distill, no_prune, no_quantize), strict=True) if off
    ]
    found = tuple(name for name in STEPS if name in wanted and name not in left_out)
    if not found:
        given = [] if only is None else [option("only", ",".join(wanted))]
        given += [option(f"no_{name}", True) for name in left_out if name in wanted]
        raise RecipeError(f"{' and '.join(given)} leave no step; leave one of them out")
    return found


def _named(only: object) -> list[str]:
    names: Sequence[object] = only if isinstance(only, (list, tuple)) else [only]
    names = [part.strip() for name in names for part in str(name).split(",")]
    for name in names:
        if name not in STEPS:
            near = difflib.get_close_matches(str(name), STEPS, n=1)
            hint = f"did you mean {near[0]}? It is" if near else "it is"
            raise RecipeError(
                f"{option('only')}: {name!r} is not a step; {hint} one of {', '.join(STEPS)}, or "
                f"several: {option('only', 'prune,quantize')}"
            )
    return [str(name) for name in names]


def parse_variants(text: str | Sequence[str]) -> list[str]:
    """Return the variants that quantize is to write.

    Raises:
        RecipeError: none is named, or one is unknown.
    """
    parts = text.split(",") if isinstance(text, str) else text
    names = [part.strip() for part in parts if part.strip()]
    known = [name for name in get_args(Variant) if name != FP32]
    strangers = [name for name in names if name not in known]
    if strangers or not names:
        fault = f"{strangers[0]!r} is not one" if strangers else "none is named"
        raise RecipeError(
            f"{option('quantize.variants', ','.join(names))} lists the files that quantize writes, "
            f"and {fault}; give one or more of {', '.join(known)}"
        )
    return names

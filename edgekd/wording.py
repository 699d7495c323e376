"""Name an option in the language of the call: a flag, a key of a recipe, or an argument in Python.

A message gives an option by its path in a recipe, and its reader sees what was called:

    option("data.size", 224)    --size 224    data.size = 224    size=224

What has no flag or argument of its own is changed with `--set data.validation=0.3`, in Python
`changes=["data.validation=0.3"]`. NAMES is the one table of flags and arguments.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Language = Literal["flags", "recipe", "python"]

NAMES: Mapping[str, str] = {
    "model": "model",
    "model.build": "model",
    "data": "data",
    "data.path": "data",
    "data.call": "data",
    "model.weights": "weights",
    "model.train.epochs": "epochs",
    "distill.student.build": "student",
    "distill.train.epochs": "epochs",
    "quantize.samples": "samples",
    "quantize.ranges": "ranges",
    "quantize.variants": "variants",
    "quantize.keep_for": "keep_for",
    "export.ship": "ship",
    "data.size": "size",
    "data.resize": "resize",
    "data.labels": "labels",
    "data.skip_broken": "skip_broken",
    "normalize": "normalize",
    "model.input.tokenizer": "tokenizer",
    "model.input.max_length": "max_length",
    "task": "task",
    "devices": "device",
    "budget.max_latency": "max_latency",
    "budget.max_drop": "max_drop",
    "budget.min_snr": "min_snr",
    "budget.min_agreement": "min_agreement",
    "name": "name",
    "out": "out",
    "only": "only",
    "no_distill": "no_distill",
    "no_prune": "no_prune",
    "no_quantize": "no_quantize",
    "quick": "quick",
}
"""Path in a recipe -> name of the flag (--max-drop) and of the argument (max_drop)."""
_OF_STEPS = {
    "train.epochs": "epochs",
    "recover.epochs": "epochs",
    "samples": "samples",
    "ranges": "ranges",
    "variants": "variants",
    "keep_for": "keep_for",
    "student.build": "student",
}
"""The same for options of steps, without the step."""
_RECIPE_WORDS = {"normalize": "model.input.mean and model.input.std"}
"""What a recipe has in place of a flag that stands for more than one key."""
_BESIDE_RECIPE = ("out",)
"""What is no key of a recipe: it is said as a flag or an argument there too."""


@dataclass(frozen=True)
class _Call:
    language: Language = "recipe"
    names: frozenset[str] = frozenset()
    """The flags or arguments that the command has."""
    steps: tuple[str, ...] = ()
    in_python: bool = False
    """Whether Python called, also where it came with a recipe."""


_CALL: ContextVar[_Call | None] = ContextVar("call", default=None)


def _call() -> _Call:
    return _CALL.get() or _Call()


@contextlib.contextmanager
def speaking(
    language: Language, *, names: Iterable[str] = (), steps: Iterable[str] = ()
) -> Iterator[None]:
    """Let messages speak this language meanwhile.

    Args:
        language: that of the call.
        names: the flags or arguments of the command, with underscores.
        steps: the names of the recipe's steps, in order.
    """
    in_python = language == "python" or (language == "recipe" and _call().in_python)
    token = _CALL.set(_Call(language, frozenset(names), tuple(steps), in_python))
    try:
        yield
    finally:
        _CALL.reset(token)


@contextlib.contextmanager
def speaking_of(steps: Iterable[str]) -> Iterator[None]:
    """Go on in the same language, now that the steps of the recipe are known."""
    call = _call()
    with speaking(call.language, names=call.names, steps=steps):
        yield


def option(path: str, value: object = None) -> str:
    """Return how the caller writes this option, with `value` if there is one.

    Args:
        path: its keys in a recipe joined by dots; those of a step begin with the step's name
            ("quantize.samples"). Or "normalize", "model", "data", which are several keys.
        value: number, text, bool or list.
    """
    call = _call()
    name = NAMES.get(path)
    if path in _BESIDE_RECIPE and call.language == "recipe":
        return flag(path, value)
    if call.language != "recipe" and name is not None and name in call.names:
        return _as_flag(name, value) if call.language == "flags" else _as_argument(name, value)
    place = _place(path, call)
    if call.language == "recipe":
        return place if value is None else f"{place} = {_plain(value)}"
    change = f"{place}={'...' if value is None else _plain(value)}"
    if call.language == "flags":
        return f"--set {shlex.quote(change)}"
    return f"changes=[{change!r}]"


def without_labels() -> str:
    """Return how the caller leaves labels out."""
    call = _call()
    if "no_labels" in call.names and call.language != "recipe":
        return flag("no_labels", True)
    return option("task", "reference")


def flag(name: str, value: object = None) -> str:
    """Return a flag of a command that has no recipe, such as bench, as the caller writes it."""
    return _as_argument(name, value) if _call().in_python else _as_flag(name, value)


def rename(where: str) -> str:
    """Return a place of a recipe, such as budget.max_drop, as the caller wrote it."""
    call = _call()
    inner = re.sub(r"^steps\[\d+\]\.", "", where)
    name = NAMES.get(where) or _OF_STEPS.get(inner if inner != where else "")
    if call.language == "recipe" or name is None or name not in call.names:
        return where
    return _as_flag(name, None) if call.language == "flags" else name


def as_change(change: str) -> str:
    """Return a change of a key, such as effort=0.1, as the caller wrote it."""
    return f"changes=[{change!r}]" if _call().in_python else f"--set {change!r}"


def describe_root() -> str:
    """Return where relative paths start, as a clause."""
    if _call().language == "recipe":
        return "paths in a recipe are relative to its folder"
    return "relative paths start at the current folder"


def has_recipe() -> bool:
    """Whether the call came with a recipe."""
    return _call().language == "recipe"


def _as_flag(name: str, value: object) -> str:
    flag = f"--{name.replace('_', '-')}"
    if value is None or value is True:
        return flag
    return f"{flag} {shlex.quote(value if isinstance(value, str) else _plain(value))}"


def _as_argument(name: str, value: object) -> str:
    return name if value is None else f"{name}={value!r}"


def _place(path: str, call: _Call) -> str:
    first, _, rest = path.partition(".")
    if first in call.steps:
        i = call.steps.index(first)
        return f"steps[{i}].{rest}" if call.language == "recipe" else f"steps.{i}.{rest}"
    return _RECIPE_WORDS.get(path, path)


def _plain(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)

"""Apply `--set dotted.key=value` to the raw table of a recipe."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from edgekd.errors import RecipeError
from edgekd.wording import as_change


def changed(table: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """Return a raw table with every 'dotted.key=value' of `changes` put in.

    Raises:
        RecipeError: one of them is not of this form, or names no place in the table.
    """
    new = copy.deepcopy(dict(table))
    for change in changes:
        _change(new, change)
    return new


def _change(table: dict[str, Any], change: str) -> None:
    """Apply one 'dotted.key=value'; `steps.0.epochs=3` reaches into lists."""
    key, sign, text = change.partition("=")
    if not sign or not key.strip():
        raise RecipeError(f"{as_change(change)}: write it as key=value, for instance effort=0.1")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a text
    target: Any = table
    *path, last = key.strip().split(".")
    for part in path:
        if isinstance(target, list):
            if not part.isdigit() or int(part) >= len(target):
                raise RecipeError(
                    f"{as_change(change)}: index {part!r} does not exist in a list of {len(target)}"
                )
            target = target[int(part)]
        elif isinstance(target, dict):
            target = target.setdefault(part, {})
        else:
            raise RecipeError(f"{as_change(change)}: {part!r} is not a table")
    if not isinstance(target, dict):
        raise RecipeError(f"{as_change(change)}: {last!r} must be a key of a table")
    target[last] = value

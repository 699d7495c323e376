"""What a builder asks for by the names of its parameters: classes, size of the vocabulary."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

Known = Literal["classes", "vocabulary", "padding", "length"]
NAMES: Mapping[Known, str] = {
    "classes": r"(num|n|nb|no)_?(classes|class|labels|outputs|targets|categories)|n?classes|nclass"
    r"|outputs|(output|out)_(dim|size|features)|out_dim|num_out",
    "vocabulary": r"(size_of_)?vocab(ulary)?(_?(size|len|length|dim|sz))?|(num|n)_?(embeddings"
    r"|vocab|words|tokens?)|len_vocab(ulary)?|n?tokens?|input_dim|dict(ionary)?_size",
    "padding": r"pad(ding)?_?(idx|index|id|token|token_id|token_idx)|pad(ding)?",
    "length": r"(max_?)?(seq|sequence|sentence|sent|text|context)_?(len|length|size)"
    r"|input_len(gth)?|max_?(len|length|tokens|words|position_embeddings|positions)|n_positions|maxlen",
}
"""What is known -> names of parameters that ask for it, lower case, as a regular expression."""
FOR_TEXTS: frozenset[Known] = frozenset({"vocabulary", "padding", "length"})


def fill_options(
    builder: Callable[..., Any],
    options: Mapping[str, Any],
    known: Mapping[Known, int],
    *,
    also: frozenset[Known] = frozenset(),
) -> dict[str, Any]:
    """Return the options that a builder asks for and the recipe does not give.

    Args:
        builder: the user's function.
        options: of the recipe.
        known: what the data and the tokenizer say.
        also: what is given even where the parameter has a default of its own.
    """
    try:
        parameters = inspect.signature(builder).parameters.values()
    except (TypeError, ValueError):
        return {}
    found: dict[str, Any] = {}
    for parameter in parameters:
        what = asked_for(parameter.name)
        if what is None or what not in known or parameter.name in options:
            continue
        is_open = parameter.default is None and what in FOR_TEXTS
        if parameter.default is parameter.empty or is_open or what in also:
            found[parameter.name] = known[what]
    return found


_FOR_A_TRY: Mapping[Known, int] = {"classes": 2, "vocabulary": 100, "padding": 0, "length": 32}


def options_for_a_try(builder: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return arbitrary values for what only the data can answer; empty where nothing is open."""
    return fill_options(builder, options, _FOR_A_TRY)


def asked_for(name: str) -> Known | None:
    """Return what a parameter of this name asks for."""
    return next((what for what, names in NAMES.items() if re.fullmatch(names, name, re.I)), None)


def find_parameter(builder: Callable[..., Any], what: Known) -> str | None:
    """Return the parameter of a builder that asks for something; None if it has none."""
    try:
        names = inspect.signature(builder).parameters
    except (TypeError, ValueError):
        return None
    return next((name for name in names if asked_for(name) == what), None)


def stated(builder: Callable[..., Any], options: Mapping[str, Any], what: Known) -> int | None:
    """Return the number that a builder has for something: of the options, else its default."""
    try:
        parameters = inspect.signature(builder).parameters.values()
    except (TypeError, ValueError):
        return None
    for parameter in parameters:
        if asked_for(parameter.name) == what:
            value = options.get(parameter.name, parameter.default)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return None

"""Arguments of the functions in Python: plain errors for wrong names and wrong kinds."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_overloads

from edgekd.errors import RecipeError
from edgekd.wording import speaking

P = ParamSpec("P")
R = TypeVar("R")
Advise = Callable[[str, object], str]


def in_python(function: Callable[P, R]) -> Callable[P, R]:
    """Let errors below name arguments, and refuse those that the function does not have.

    A function that is overloaded has the arguments of its first overload, and gets all of them.
    """
    return taking(_nothing)(function)


def taking(advise: Advise) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Do as `in_python`, with advice on arguments that it does not have.

    Args:
        advise: gets the name and the value, and returns a clause, or "".
    """
    return functools.partial(_in_python, advise=advise)


def _nothing(_: str, __: object) -> str:
    return ""


def _in_python(function: Callable[P, R], *, advise: Advise) -> Callable[P, R]:
    overloads = get_overloads(function)
    signature = inspect.signature(overloads[0] if overloads else function)
    title = f"edgekd.{function.__name__}"

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        names = list(signature.parameters)
        with speaking("python", names=names):
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError as error:
                raise RecipeError(_explain(title, names, kwargs, error, advise)) from None
            bound.apply_defaults()
            return function(*bound.args, **bound.kwargs)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


def _explain(
    title: str,
    names: Sequence[str],
    given: Mapping[str, Any],
    error: TypeError,
    advise: Advise,
) -> str:
    strange = next((name for name in given if name not in names), None)
    if strange is None:
        return f"{title}: {error}; it takes {', '.join(names)}"
    advice = advise(strange, given[strange])
    if advice:
        return f"{title} has no argument {strange!r}; {advice}"
    near = difflib.get_close_matches(strange, names, n=1)
    hint = f"did you mean {near[0]}? It" if near else "it"
    return f"{title} has no argument {strange!r}; {hint} takes {', '.join(names)}"


def as_path(value: object, name: str) -> Path | None:
    """Return a path that may be left out.

    Raises:
        RecipeError: it is neither a text nor a path.
    """
    from edgekd.store import locate

    if value is None:
        return None
    if isinstance(value, (str, os.PathLike)):
        return locate(os.fspath(value))
    raise RecipeError(f"{name} is {value!r:.40} ({type(value).__name__}); expected is a path")


def as_texts(value: object, name: str) -> list[str]:
    """Return several texts, or one, as a list.

    Raises:
        RecipeError: it is something else.
    """
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise RecipeError(f"{name} is {value!r:.60}; expected is a list of texts")
    return list(parts)


def as_flag(value: object, name: str) -> str:
    """Return a text, a number, or several of them, as the text of a flag: "1,2,4".

    Raises:
        RecipeError: it is something else.
    """
    plain = as_plain(value)
    parts = plain if isinstance(plain, list) else [plain]
    if any(isinstance(part, bool) or not isinstance(part, (str, int, float)) for part in parts):
        raise RecipeError(f"{name} is {value!r:.60}; expected is a text, a number, or several")
    return ",".join(f"{part:f}" if isinstance(part, float) else str(part) for part in parts)


def as_number(value: object, name: str) -> float:
    """Return a number.

    Raises:
        RecipeError: it is none.
    """
    plain = as_plain(value)
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise RecipeError(f"{name} is {value!r:.40}; expected is a number")
    return float(plain)


def as_whole(value: object, name: str) -> int:
    """Return a whole number.

    Raises:
        RecipeError: it is none.
    """
    plain = as_plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int):
        raise RecipeError(f"{name} is {value!r:.40}; expected is a whole number")
    return plain


def as_plain(value: object) -> Any:
    """Return numbers of numpy and paths as a recipe has them."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    if hasattr(value, "tolist"):  # an array or an index of names
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value

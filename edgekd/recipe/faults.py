"""Word the errors of a recipe for the user: every fault, with a correction."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from edgekd.options import Options
from edgekd.recipe.option_tree import Tables, find_tables, find_tag, list_keys, walk_places
from edgekd.wording import has_recipe, option, rename

TOP = "the top of the recipe"


def faults(error: ValidationError, kind: type[Options]) -> str:
    """Return one sentence for each fault of a table of this kind, joined by semicolons."""
    said: dict[tuple[str, str], list[str]] = {}
    for found in error.errors():
        part: dict[str, Any] = dict(found)
        where, tables = _walk(part["loc"], kind)
        place = rename(where) if where else "the recipe"
        if part["type"] == "extra_forbidden":
            key = str(part["loc"][-1])
            hints = "; ".join([f"{where} is not a known key", *_hints(key, tables, kind)])
            said.setdefault((hints, ""), [])
        elif part["type"] == "missing":
            said.setdefault((f"{place} is missing", ""), [])
        elif part["type"] == "value_error":
            message = part["msg"].removeprefix("Value error, ")
            said.setdefault((f"{place}: {message}" if where else message, ""), [])
        else:  # a value that may be of several kinds has a fault for each
            got = f"{place}: got {_got(part)}"
            said.setdefault((got, "expected"), []).append(_expected(part))
    return "; ".join(
        f"{beginning}, {word} {_either(list(dict.fromkeys(words)))}" if words else beginning
        for (beginning, word), words in said.items()
    )


def _got(error: Mapping[str, Any]) -> str:
    value = error["input"]
    if error["type"] == "union_tag_invalid":
        return f"name = {dict(error['ctx'])['tag']!r}"
    if error["type"] == "union_tag_not_found":
        return "no name"
    return _shorten(value)


def _shorten(value: object) -> str:
    if isinstance(value, (str, int, float, bool, type(None))):
        return f"{value!r:.60}"
    if isinstance(value, Mapping):
        return f"a table of {', '.join(map(str, value)) or 'nothing'}"[:80]
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return f"a {type(value).__name__}"


def _expected(error: Mapping[str, Any]) -> str:
    """Return what was expected, in plain words where pydantic's are a programmer's."""
    kind, context = str(error["type"]), dict(error.get("ctx") or {})
    if kind in _LIMITS:
        sign, key = _LIMITS[kind]
        return f"{sign} {context[key]}"
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "union_tag_invalid":
        return f"one of {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return "name = the name of a step"
    if kind in ("too_long", "too_short"):
        return f"a list of {context.get('max_length', context.get('min_length'))}"
    for beginning, words in _KINDS.items():
        if kind.startswith(beginning):
            return words
    message = str(error["msg"]).removeprefix("Input should be ").removeprefix("String should ")
    return f"{message[0].lower()}{message[1:]}"


_LIMITS = {
    "greater_than": ("a number above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("a number below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_KINDS = {
    "int_": "a whole number",
    "float_": "a number",
    "finite": "a number that is not infinite",
    "string_pattern": "small letters, digits, '.', '_' and '-', not as the first",
    "string_": "a text",
    "bool_": "true or false",
    "tuple_": "a list",
    "list_": "a list",
    "dict_": "a table",
    "model_": "a table",
}
"""The beginnings of pydantic's kinds of fault, and what it expected then."""


def _walk(location: Sequence[str | int], kind: type[Options]) -> tuple[str, Tables]:
    """Return a fault's place as the recipe has it, and the kinds of table that its last key is in.

    Where several kinds of table may stand, pydantic names the one that it tried between two keys.
    """
    where = ""
    tables: Tables = (kind,)
    inner = tables
    for part in location:
        if isinstance(part, int):
            where += f"[{part}]"
        elif len(inner) > 1 and (
            tried := [t for t in inner if part in (t.__name__, find_tag(t)[1])]
        ):
            inner = tuple(tried)
        elif not inner and where:
            break  # the kinds that a plain value may be
        else:
            where += f".{part}" if where else part
            tables = inner
            inner = tuple(found for table in tables for found in find_tables(table, part))
    return where, tables


def _hints(key: str, tables: Tables, kind: type[Options]) -> Iterator[str]:
    near = _nearest(key, [known for table in tables for known in list_keys(table)])
    if near:
        yield f"did you mean {near!r}?"
    places = [_Place(TOP, (kind,)), *(_Place(*place) for place in walk_places((kind,)))]
    elsewhere = {known for place in places for table in place.tables for known in list_keys(table)}
    other = key if near else _nearest(key, elsewhere)
    headers = [text for place in places for text in place.headers(other, typed=tables)]
    if headers:
        above = _either(list(dict.fromkeys(headers)))
        if not has_recipe():
            spelled = [_spelled(header, other) for header in dict.fromkeys(headers)]
            yield f"{'did you mean' if not near else 'or'} {_either(spelled)}?"
            return
        yield f"{other} belongs {'at' if above.startswith(TOP) else 'in'} {above}"


def advise_key(key: str, value: object, kind: type[Options]) -> str:
    """Return how a key of a recipe is written that is no argument, as a clause; "": it is no key.

    Args:
        key: its name alone, such as "opset".
        value: what was given for it.
        kind: of the recipe.
    """
    tables = [("", (kind,)), *((h.strip("[]"), t) for h, t in walk_places((kind,)) if h[1] != "[")]
    paths = dict.fromkeys(
        f"{path}.{key}".lstrip(".") for path, t in tables if any(key in list_keys(k) for k in t)
    )
    plain = value if isinstance(value, (bool, int, float, str)) else None
    spelled = [option(path, plain) for path in paths if "steps" not in path]
    return f"it is a key of a recipe: {_either(spelled)}" if spelled else ""


def _spelled(header: str, key: str) -> str:
    """Return a key below a header as the caller would write it."""
    table = header.strip("[]")
    is_plain = header.startswith("[") and not header.startswith("[[") and "steps" not in table
    if header == TOP or is_plain:
        return option(key if header == TOP else f"{table}.{key}")
    return f"{key} in {header}"


def _nearest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, sorted(set(known)), n=1, cutoff=0.6)
    return close[0] if close else ""


@dataclass(frozen=True)
class _Place:
    """The place of a table in a recipe, and the kinds of table that are allowed there."""

    header: str
    tables: Tables

    def headers(self, key: str, *, typed: Tables) -> list[str]:
        """Return the tables above this key, except those of the kinds that it was typed in."""
        having = [table for table in self.tables if key in list_keys(table) and table not in typed]
        tags = dict.fromkeys(map(find_tag, having))
        if len(having) == len(self.tables):
            return [self.header]
        if len(tags) == len(having) and len(set(map(find_tag, self.tables))) == len(self.tables):
            return [f"{self.header} with {field} = {tag!r}" for field, tag in tags]
        return [] if set(typed) & set(self.tables) else [self.header][: len(having)]


def _either(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last

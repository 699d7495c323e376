"""What is wrong with a recipe in the user's words, with the way out: every fault that was found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from edgekd.options import Options

Tables = tuple[type[Options], ...]
"""The kinds of table that may stand in one place; more than one where it is a union."""
TOP = "the top of the recipe"


def faults(error: ValidationError, kind: type[Options]) -> str:
    """Return one sentence for each fault of a table of this kind, joined by semicolons."""
    return "; ".join(_fault(dict(part), kind) for part in error.errors())


def _fault(error: Mapping[str, Any], kind: type[Options]) -> str:
    where, tables = _walk(error["loc"], kind)
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        return "; ".join([f"{where} is not a known key", *_hints(key, tables, kind)])
    message = error["msg"].removeprefix("Value error, ")
    got = "" if error["type"] in ("missing", "value_error") else f" (got {error['input']!r:.60})"
    return f"{where or 'recipe'}: {message}{got}"


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
        elif len(inner) > 1 and (tried := [t for t in inner if part in (t.__name__, _tag(t)[1])]):
            inner = tuple(tried)
        else:
            where += f".{part}" if where else part
            tables, inner = inner, _inner(inner, part)
    return where, tables


def _hints(key: str, tables: Tables, kind: type[Options]) -> Iterator[str]:
    near = _nearest(key, [known for table in tables for known in _keys(table)])
    if near:
        yield f"did you mean {near!r}?"
    places = list(_places((kind,), ""))
    elsewhere = {known for place in places for table in place.tables for known in _keys(table)}
    other = key if near else _nearest(key, elsewhere)
    headers = [text for place in places for text in place.headers(other, typed=tables)]
    if headers:
        above = _either(list(dict.fromkeys(headers)))
        yield f"{other} belongs {'at' if above.startswith(TOP) else 'in'} {above}"


def _nearest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, sorted(set(known)), n=1, cutoff=0.6)
    return close[0] if close else ""


@dataclass(frozen=True)
class _Place:
    """Where a table stands in a recipe, and what kinds of table may stand there."""

    header: str
    tables: Tables

    def headers(self, key: str, *, typed: Tables) -> list[str]:
        """Return what stands above this key, other than the kinds of table that it was typed in."""
        having = [table for table in self.tables if key in _keys(table) and table not in typed]
        tags = dict.fromkeys(map(_tag, having))
        if len(having) == len(self.tables):
            return [self.header]
        if len(tags) == len(having) and len(set(map(_tag, self.tables))) == len(self.tables):
            return [f"{self.header} with {field} = {tag!r}" for field, tag in tags]
        return [] if set(typed) & set(self.tables) else [self.header][: len(having)]


def _places(tables: Tables, path: str) -> Iterator[_Place]:
    """Return every place of a recipe that has a table, the outermost first."""
    if not path:
        yield _Place(TOP, tables)
    for table in tables:
        for key in _keys(table):
            below, at = _inner((table,), key), f"{path}.{key}".lstrip(".")
            if below:
                listed = get_origin(_annotation(table, key)) is tuple
                yield _Place(f"[[{at}]]" if listed else f"[{at}]", below)
                yield from _places(below, at)


def _keys(table: type[Options]) -> list[str]:
    """Return the keys that a user may write in this table."""
    return [field.alias or name for name, field in table.model_fields.items()]


def _annotation(table: type[Options], key: str) -> Any:
    fields = table.model_fields.items()
    return next((f.annotation for name, f in fields if key in (name, f.alias)), None)


def _inner(tables: Tables, key: str) -> Tables:
    """Return the kinds of table that the value of `key` may be."""
    return tuple(inner for table in tables for inner in _options_in(_annotation(table, key)))


def _options_in(annotation: Any) -> Iterator[type[Options]]:
    if isinstance(annotation, type) and issubclass(annotation, Options):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _options_in(part)


def _tag(table: type[Options]) -> tuple[str, str]:
    """Return the key and the one word by which a recipe names this kind of table, if it does."""
    for name, field in table.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return name, str(get_args(field.annotation)[0])
    return "", ""


def _either(words: Sequence[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last

"""Word the errors of a recipe for the user: every fault, with a correction."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from edgekd.options import Options
from edgekd.recipe.option_tree import Tables, find_tables, find_tag, list_keys, walk_places

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
        elif len(inner) > 1 and (
            tried := [t for t in inner if part in (t.__name__, find_tag(t)[1])]
        ):
            inner = tuple(tried)
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
        yield f"{other} belongs {'at' if above.startswith(TOP) else 'in'} {above}"


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

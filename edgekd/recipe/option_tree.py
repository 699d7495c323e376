"""The tree of a recipe's options: the keys of each table and the tables below them.

All of it is read from the classes of the options, so that a new step or loss is known everywhere.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from edgekd.options import USER_FUNCTION, Options, UserFunction

Tables = tuple[type[Options], ...]
"""The kinds of table that are allowed in one place; several for a union."""


@functools.cache  # asked for at every level of every hint
def list_keys(table: type[Options]) -> tuple[str, ...]:
    """Return the keys that a user may write in this table: its own first, then the inherited."""

    def origin(name: str) -> int:
        having = [name in getattr(base, "model_fields", {}) for base in table.__mro__]
        return max(i for i, has in enumerate(having) if has)

    names = sorted(table.model_fields, key=origin)
    return tuple(table.model_fields[name].alias or name for name in names)


def find_field(table: type[Options], key: str) -> FieldInfo:
    """Return the value of `key` in `table`.

    Raises:
        KeyError: the key does not exist.
    """
    for name, field in table.model_fields.items():
        if key in (name, field.alias):
            return field
    raise KeyError(key)


def find_tables(table: type[Options], key: str) -> Tables:
    """Return the kinds of table that the value of `key` may be; none if it is a plain value."""
    return find_options(find_field(table, key).annotation) if key in list_keys(table) else ()


def is_list(table: type[Options], key: str) -> bool:
    """Whether the value of `key` is a list of tables."""
    return get_origin(find_field(table, key).annotation) is tuple


def find_options(annotation: Any) -> Tables:
    """Return the classes of options in a type: the members of a union, the element of a list."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return (annotation,)
    return tuple(found for part in get_args(annotation) for found in find_options(part))


def find_tag(table: type[Options]) -> tuple[str, str]:
    """Return the key and the word by which a recipe names this kind of table: name, 'prune'.

    Both are empty if the key does not exist.
    """
    for name, field in table.model_fields.items():
        if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1:
            return name, str(get_args(field.annotation)[0])
    return "", ""


def select(tables: Tables, value: Mapping[str, Any]) -> type[Options]:
    """Return the kind of table that a raw table is, by its tag or its keys.

    Raises:
        KeyError: it is none of them.
    """
    for table in tables:
        key, word = find_tag(table)
        if value.get(key, word) == word and set(value) <= set(list_keys(table)):
            return table
    raise KeyError(sorted(value))


def walk_places(tables: Tables, path: str = "") -> Iterator[tuple[str, Tables]]:
    """Return the header and the kinds of every table below, the outermost first."""
    for table in tables:
        for key in list_keys(table):
            below, at = find_tables(table, key), f"{path}.{key}".lstrip(".")
            if below:
                yield (f"[[{at}]]" if is_list(table, key) else f"[{at}]"), below
                yield from walk_places(below, at)


def list_functions(options: Options) -> Iterator[str]:
    """Return every value, here and in the tables below, that names a function."""
    for name, field in type(options).model_fields.items():
        value = getattr(options, name)
        if USER_FUNCTION in field.metadata or _names_function(field.annotation):
            yield from [value] if value is not None else []
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Options):
                yield from list_functions(part)


def _names_function(annotation: Any) -> bool:
    return annotation == UserFunction or any(map(_names_function, get_args(annotation)))

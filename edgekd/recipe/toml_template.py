"""Write a recipe as commented TOML: what `edgekd init` writes.

Its comments are the descriptions of the options, and its commented values their examples. Both are
defined once, at the options themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from edgekd.options import Options
from edgekd.recipe.option_tree import find_field, find_tables, find_tag, is_list, list_keys, select
from edgekd.recipe.recipe import Recipe

_COLUMN = 42  # where the comments start

_HEAD = """\
# A recipe of edgekd. Run it with: edgekd compress {file}
# To estimate time and disk space: edgekd compress {file} --dry-run
# Paths are relative to this file's folder. Lines that begin with '#' show defaults or examples."""


@dataclass(frozen=True)
class _Section:
    header: str
    kind: type[Options]
    values: Mapping[str, Any]
    about: str | None = None


def render_template(table: Mapping[str, Any], *, file: str = "recipe.toml") -> str:
    """Return the TOML text of a raw recipe table; read back it gives an equal recipe.

    Args:
        table: as `make_recipe_table` gives it; only keys that a recipe has.
        file: how the text calls itself.
    """
    blocks = [_HEAD.format(file=file)]
    for section in _sections(_Section("", Recipe, table), ""):
        lines = [f"# {section.about}"] if section.about else []
        lines += [section.header] if section.header else []
        blocks.append("\n".join([*lines, *_lines(section)]))
    return "\n\n".join(blocks) + "\n"


def _sections(section: _Section, path: str) -> Iterator[_Section]:
    """Return a table and those below it that have headers of their own."""
    yield section
    whole = section.kind is Recipe
    for key in list_keys(section.kind) if whole else section.values:
        if _has_header(section.kind, key) and (whole or key in section.values):
            yield from _below(section, key, f"{path}.{key}".lstrip("."))


def _below(section: _Section, key: str, path: str) -> Iterator[_Section]:
    kinds, about = find_tables(section.kind, key), find_field(section.kind, key).description
    if is_list(section.kind, key):
        for values in section.values.get(key, ()):
            kind = select(kinds, values)
            about = (kind.__doc__ or "").partition("\n")[0]
            yield from _sections(_Section(f"[[{path}]]", kind, values, about), path)
    else:
        values = section.values.get(key, {})
        sentence = about and f"{about[0].upper()}{about[1:]}."
        yield from _sections(_Section(f"[{path}]", select(kinds, values), values, sentence), path)


def _has_header(kind: type[Options], key: str) -> bool:
    """Whether a table gets its own header: it has examples to show there."""
    kinds = find_tables(kind, key)
    return any(find_field(inner, known).examples for inner in kinds for known in list_keys(inner))


def _lines(section: _Section) -> Iterator[str]:
    kind, values = section.kind, section.values
    for key, value in values.items():
        if not _has_header(kind, key):
            yield _line("", key, value, kind)
    for key in list_keys(kind):
        for value in find_field(kind, key).examples or ():
            if key not in values and _fits(kind, {**values, key: value}):
                yield _line("# ", key, value, kind)


def _fits(kind: type[Options], values: Mapping[str, Any]) -> bool:
    """Whether such a table is valid: some options go only with others."""
    try:
        kind.model_validate(values)
    except ValidationError:
        return False
    return True


def _line(mark: str, key: str, value: object, kind: type[Options]) -> str:
    text = f"{mark}{_key(key)} = {write_value(value)}"
    field = find_field(kind, key)
    if key == find_tag(kind)[0]:
        return text  # its description is above the table
    words = field.description
    if mark and _plain(field.get_default(call_default_factory=True)) != value:
        words = f"(an example) {words}"
    return f"{text:<{_COLUMN}} # {words}"


def _plain(value: object) -> object:
    if isinstance(value, Options):
        return value.model_dump(mode="json", exclude_none=True)
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def write_value(value: object) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(str(k))} = {write_value(v)}" for k, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(write_value(part) for part in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)

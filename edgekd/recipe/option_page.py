"""Write every option of a recipe as one Markdown page, from the JSON schema."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from edgekd.recipe.toml_template import write_value
from edgekd.wording import NAMES

Node = Mapping[str, Any]

_TAGS = ("name", "kind")
"""Keys that distinguish tables, if their value is fixed."""
_NOT_BLANK = r"\S"
_BOUNDS = {
    **{"minimum": "at least", "exclusiveMinimum": "above"},
    **{"maximum": "at most", "exclusiveMaximum": "below"},
}

_HEAD = """\
# Every option of a recipe

Written by `make format` from the schema of recipes; do not edit it. A heading names the table that
a key is in: `[data]`, or `[[steps]]` where there may be several, or in one line:
`input = { size = 224 }`. `--set data.size=224` changes any key, `--set steps.0.ratio=0.3` one of
the first step. Only keys that are **required** must be given. A flag of `edgekd compress` in
brackets sets the same key.

`edgekd init` writes a recipe with the usual ones. It and calls by flags alone choose some values
otherwise, such as 0.2 for `data.validation`, and say so ([why](your-own-model.md#3-a-recipe)).
`edgekd schema` writes the schema itself, with which editors complete and check recipes. Words are
in the [glossary](glossary.md).
"""


@dataclass(frozen=True)
class _Table:
    path: str
    """Its keys from the top, joined by dots; "" is the recipe."""
    node: Node
    name: str = ""
    """Of its definition."""
    kind: str = ""
    """What distinguishes it from others in its place."""

    @property
    def heading(self) -> str:
        return f"`{self.path}`" + (f" {self.kind}" if self.kind else "") if self.path else "The top"


def render_options(schema: Node, *, flags: Collection[str]) -> str:
    """Return the page: a section for each table, with key, type, default, values, description.

    Args:
        schema: of a recipe, as `build_schema` gives it.
        flags: names of the command line's flags, with underscores: those of a key are named.
    """
    tables: dict[str, list[_Table]] = {}
    for table in _walk(_Table("", schema), schema["$defs"]):
        tables.setdefault(table.name, []).append(table)
    first = {name: places[0] for name, places in tables.items()}
    sections = ["\n".join(_section(places, first, flags)) for places in tables.values()]
    return "\n\n".join([_HEAD.rstrip("\n"), *sections]) + "\n"


def _walk(table: _Table, named: Node) -> Iterator[_Table]:
    """Return a table and all below it, each with its place; definitions once for each place."""
    yield table
    for key, node in table.node["properties"].items():
        path = f"{table.path}.{key}".lstrip(".")
        references = _references(node)
        for name in references:
            inner = _keys_of(named[name])
            kind = _kind(inner) if len(references) > 1 else ""
            yield from _walk(_Table(path, inner, name, kind), named)


def _references(node: Node) -> list[str]:
    """Return the names of the tables that a value may be."""
    if "$ref" in node:
        return [node["$ref"].rpartition("/")[2]]
    parts = [*node.get("oneOf", ()), *node.get("anyOf", ()), *filter(None, [node.get("items")])]
    return [name for part in parts for name in _references(part)]


def _keys_of(definition: Node) -> Node:
    """Return the table of a definition that may also be a plain value."""
    parts = definition.get("anyOf", [definition])
    return next(part for part in parts if "properties" in part)


def _kind(table: Node) -> str:
    """Return the name that a table gives itself, else the key that it alone needs."""
    keys = table["properties"]
    named = [keys[key]["const"] for key in ("name", "kind") if "const" in keys.get(key, ())]
    required = table.get("required", [])
    if required and named in ([], ["teacher"]):
        also = " and trainable" if keys.get("trainable", {}).get("const") else ""
        return f"with {required[0]}{also}"
    return str(named[0]) if named else ""


def _section(
    places: list[_Table], first: Mapping[str, _Table], flags: Collection[str]
) -> Iterator[str]:
    table = places[0]
    others = sorted({f"`{place.path}`" for place in places[1:]} - {f"`{table.path}`"})
    yield f"## {table.heading}\n"
    about = " ".join(table.node["description"].split())
    yield about + (f" The same keys: {', '.join(others)}." if others else "") + "\n"
    keys, base = _own_keys(table, first.values())
    if base is not None:
        absent = sorted(set(base.node["properties"]) - set(table.node["properties"]))
        without = ", ".join(f"`{key}`" for key in absent)
        yield f"The keys of {_link(base, base.heading)} without {without}, and:\n"
    yield "| key | type | default | values | description |\n|---|---|---|---|---|"
    named = [(key, _flag(key, table, flags)) for key in keys]
    for key, flag in sorted(named, key=lambda pair: _rank(pair[0], pair[1], table)):
        node = keys[key]
        default = "**required**" if _is_required(key, table) else _default(node, first)
        about = _about(node) + f" (`--{flag.replace('_', '-')}`)" * bool(flag)
        cells = [f"`{key}`", _type(node, first), default, _limits(node), about]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _rank(key: str, flag: str, table: _Table) -> tuple[int, int]:
    """Sort what distinguishes a table first, then required keys, then those with a flag."""
    if "const" in table.node["properties"][key] and key in _TAGS:
        return 0, 0
    if _is_required(key, table):
        return 1, 0
    return (2, list(NAMES.values()).index(flag)) if flag else (3, 0)


def _is_required(key: str, table: _Table) -> bool:
    tag = table.node["properties"][key].get("const") == table.kind
    return key in table.node.get("required", ()) or tag


def _own_keys(table: _Table, others: Iterable[_Table]) -> tuple[Node, _Table | None]:
    """Return the keys to show, and the table before it that has the same keys and more."""
    keys = {
        key: node
        for key, node in table.node["properties"].items()
        if key not in _TAGS or node.get("const") in (None, table.kind)
    }
    for other in takewhile(lambda other: other is not table, others):
        new = {key: node for key, node in keys.items() if other.node["properties"].get(key) != node}
        if len(new) <= 2 and len(keys) > 10:
            return new, other
    return keys, None


def _flag(key: str, table: _Table, flags: Collection[str]) -> str:
    """Return the name of the flag that sets a key; "" if there is none."""
    inner = re.sub(r"^steps\b\.?", "", table.path)
    step = table.kind if table.path == "steps" else "distill" if table.path != inner else ""
    name = NAMES.get(".".join(filter(None, (step, inner, key))), "")
    return name if name in flags else ""


def _about(node: Node) -> str:
    """Return the description, with an example where the default is not one."""
    words: str = node.get("description", "") or "chooses this table"
    examples = node.get("examples", ())
    if examples and examples[0] != node.get("default") and not _references(node):
        words += f"; for instance `{write_value(examples[0])}`"
    return words


def _default(node: Node, first: Mapping[str, _Table]) -> str:
    """Return the default; of a table what differs from the defaults of its keys."""
    value = node.get("default")
    if "$ref" in node and isinstance(value, Mapping):
        own = first[_references(node)[0]].node["properties"]
        value = {key: part for key, part in value.items() if part != own[key].get("default")}
        value = value or None
    return "" if value in (None, "") else f"`{write_value(_without_nulls(value))}`"


def _without_nulls(value: Any) -> Any:
    """Return a value without the keys that are not set."""
    if isinstance(value, list):
        return [_without_nulls(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    return {key: _without_nulls(part) for key, part in value.items() if part not in (None, "")}


def _type(node: Node, first: Mapping[str, _Table]) -> str:
    """Return the type in words; a table links to its section."""
    if names := _references(node):
        tables = [first[name] for name in names]
        words = [table.kind or table.path.rpartition(".")[2] for table in tables]
        links = " or ".join(map(_link, tables, words))
        return f"{'list of tables' if node.get('type') == 'array' else 'table'}: {links}"
    if "anyOf" in node:
        found = [_type(part, first) for part in node["anyOf"] if part.get("type") != "null"]
        return "number" if found == ["integer", "number"] else " or ".join(dict.fromkeys(found))
    if node["type"] == "array":
        parts = node.get("prefixItems", [])
        several = f"{_type(parts[0] if parts else node['items'], first)}s"
        return f"{len(parts)} {several}" if parts else f"list of {several}"
    inner = node.get("additionalProperties")
    if isinstance(inner, Mapping):
        return f"table of a {_type(inner, first)} for each name"
    kind: str = node["type"]
    return {"object": "table", "boolean": "true or false"}.get(kind, kind)


def _limits(node: Node) -> str:
    """Return the values that are allowed, where they are fewer than the type's."""
    allowed = node.get("enum", [node["const"]] if "const" in node else [])
    if allowed:
        return ", ".join(f"`{write_value(value)}`" for value in allowed)
    parts = [*node.get("anyOf", ()), *filter(None, [node.get("items")])]
    found = [words for part in parts if (words := _limits(part))]
    if {"minimum", "maximum"} <= node.keys():
        found.append(f"{node['minimum']:.12g} to {node['maximum']:.12g}")
    elif bounds := [f"{words} {node[key]:.12g}" for key, words in _BOUNDS.items() if key in node]:
        found.append(", ".join(bounds))
    pattern = node.get("pattern", _NOT_BLANK)
    return "; ".join([*found, *(() if pattern == _NOT_BLANK else (f"`{pattern}`",))])


def _link(table: _Table, words: str) -> str:
    """Return a link to the section of a table, with the anchor that GitHub gives its heading."""
    anchor = re.sub(r"[^\w\- ]", "", table.heading.lower()).replace(" ", "-")
    return f"[{words}](#{anchor})"

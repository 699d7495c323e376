"""The page of every option has each key of the schema, with its type, default and values."""

from __future__ import annotations

import re
from typing import Any

from edgekd.recipe.option_page import render_options
from edgekd.recipe.recipe import build_schema


def sections(page: str) -> dict[str, dict[str, list[str]]]:
    """Heading -> key -> the other cells of its row."""
    found: dict[str, dict[str, list[str]]] = {}
    for part in page.split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        rows = [re.split(r"(?<!\\) \| ", row[2:-2]) for row in re.findall(r"^\| `.*$", text, re.M)]
        found[heading] = {row[0].strip("`"): row[1:] for row in rows}
    return found


def test_every_key_of_the_schema_is_on_the_page() -> None:
    schema = build_schema()
    page = render_options(schema, flags=())
    keys = {key for table in sections(page).values() for key in table}
    for name, definition in {"": schema, **schema["$defs"]}.items():
        table = next(p for p in (definition, *definition.get("anyOf", ())) if "properties" in p)
        assert table["properties"].keys() <= keys, name
    assert "(`--" not in page


def test_rows_have_type_default_values_and_flag() -> None:
    found = sections(render_options(build_schema(), flags=["size", "epochs"]))
    size, ratio = found["`data`"]["size"], found["`steps` prune"]["ratio"]
    assert size[0] == "integer or 2 integers"
    assert size[-1].endswith("for instance `224` (`--size`)")
    assert ratio[:3] == ["number", "`0.3`", "above 0, below 1"]
    assert found["`data`"]["pad_value"][:3] == ["integer", "`114`", "0 to 255"]
    assert found["`steps` prune"]["name"][:3] == ["string", "**required**", '`"prune"`']
    assert found["`steps` prune"]["recover"][1].startswith("`{ epochs = 5, ")
    assert found["`model.train`"]["epochs"][-1].endswith("(`--epochs`)")
    assert list(found["`data.mix`"]) == ["weight"]


def test_a_new_table_of_a_schema_gets_its_section() -> None:
    inner: dict[str, Any] = {"type": "integer", "default": 3, "enum": [1, 3], "description": "a|b"}
    schema = {
        "description": "All.",
        "properties": {"more": {"$ref": "#/$defs/More", "description": "more"}},
        "$defs": {"More": {"description": "More of it.", "properties": {"n": inner}}},
    }
    page = render_options(schema, flags=())
    assert "| `more` | table: [more](#more) |  |  | more |" in page
    assert "## `more`\n\nMore of it.\n" in page
    assert "| `n` | integer | `3` | `1`, `3` | a\\|b |" in page

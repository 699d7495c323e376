"""Write a recipe as TOML that `edgekd compress` can read again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any


def toml(table: Mapping[str, Any]) -> str:
    """Return a recipe as TOML that `edgekd compress` reads again."""
    plain, tables, lists = [], [], []
    for key, value in sorted(table.items(), key=lambda item: (item[0] != "name", item[0])):
        if isinstance(value, Mapping):
            tables.append("\n".join([f"[{_key(key)}]", *_lines(value)]))
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            lists += ["\n".join([f"[[{_key(key)}]]", *_lines(item)]) for item in value]
        else:
            plain.append(f"{_key(key)} = {inline(value)}")
    return "\n\n".join(part for part in ("\n".join(plain), *tables, *lists) if part) + "\n"


def _lines(table: Mapping[str, Any]) -> list[str]:
    ordered = sorted(table.items(), key=lambda item: (item[0] not in ("name", "kind"), item[0]))
    return [f"{_key(key)} = {inline(value)}" for key, value in ordered]


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def inline(value: Any) -> str:
    """Return a value on one line, as it stands behind a key."""
    if isinstance(value, Mapping):
        inside = ", ".join(_lines(value))
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(inline, value))}]"
    return json.dumps(value, ensure_ascii=False)

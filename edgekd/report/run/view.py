"""What of a record may leave this machine: no absolute path; and its recipe, to be used again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_HOME = r"(?:/home/[^/\s'\"]+|/Users/[^/\s'\"]+|/root|[A-Za-z]:\\Users\\[^\\\s'\"]+|~[\w.-]*)"
_ROOT = r"(?:file://(?=/)|~[\w.-]*(?=/)|[A-Za-z]:(?=\\)|\\(?=\\))?[/\\]"
_PATH = re.compile(
    r"(?P<url>\bhttps?://\S+)"
    # In quotes a path may hold blanks; in between it ends at one.
    rf"|(?P<quote>['\"])(?P<option>[\w.-]*=)?(?P<quoted>{_ROOT}(?:(?!(?P=quote)).)*)(?P=quote)"
    rf"|(?<![\w.:/\\+~<-])(?P<bare>{_ROOT}[^\s'\",;()\[\]{{}}]+)"
    rf"|(?<=[\w]:)(?P<after>/(?!/)[^\s'\",;()\[\]{{}}]+)"
)


def without_paths(text: str) -> str:
    """Return `text` with every absolute path cut down to its last part; a home becomes `~`.

    Relative paths and web addresses stay. A text that is one path as a whole may hold blanks.
    """
    if re.match(_ROOT + r"\S", text) and not re.search(r"\n|\s[/\\~]", text):
        return _last_part(text)
    return _PATH.sub(_cut, text)


def _cut(match: re.Match[str]) -> str:
    if match["url"]:
        return match["url"]
    if match["quote"]:
        quote, option = match["quote"], match["option"] or ""
        return f"{quote}{option}{_last_part(match['quoted'])}{quote}"
    return _last_part(match["bare"] or match["after"])


def _last_part(path: str) -> str:
    path = path.removeprefix("file://")
    if re.fullmatch(_HOME + r"[/\\]?", path):
        return "~"
    parts = [part for part in re.split(r"[/\\]", path) if part]
    return parts[-1] if parts else path


def cleaned(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record as it may leave this machine: keys sorted, no absolute path in it.

    Labels and samples stay letter by letter: they are the data's, and no paths of this machine.
    """
    plain = json.loads(json.dumps(content, sort_keys=True, allow_nan=False))
    return {k: v if k in ("task", "changes") else _cleaned(v) for k, v in plain.items()}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {without_paths(key): _cleaned(item) for key, item in value.items()}
    return value


def toml(table: Mapping[str, Any]) -> str:
    """Return a recipe as TOML that `edgekd compress` reads again."""
    plain, tables, lists = [], [], []
    for key, value in sorted(table.items(), key=lambda item: (item[0] != "name", item[0])):
        if isinstance(value, Mapping):
            tables.append("\n".join([f"[{_key(key)}]", *_lines(value)]))
        elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
            lists += ["\n".join([f"[[{_key(key)}]]", *_lines(item)]) for item in value]
        else:
            plain.append(f"{_key(key)} = {_inline(value)}")
    return "\n\n".join(part for part in ("\n".join(plain), *tables, *lists) if part) + "\n"


def _lines(table: Mapping[str, Any]) -> list[str]:
    ordered = sorted(table.items(), key=lambda item: (item[0] not in ("name", "kind"), item[0]))
    return [f"{_key(key)} = {_inline(value)}" for key, value in ordered]


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(_lines(value))
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(map(_inline, value))}]"
    return json.dumps(value, ensure_ascii=False)

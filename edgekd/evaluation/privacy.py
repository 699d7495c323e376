"""Remove from a record what must not leave this machine: absolute paths."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgekd.evaluation.audit import Audit
from edgekd.evaluation.record import Record, from_json

_HOME = r"(?:/home/[^/\s'\"]+|/Users/[^/\s'\"]+|/root|[A-Za-z]:\\Users\\[^\\\s'\"]+|~[\w.-]*)"
_ROOT = r"(?:file://(?=/)|~[\w.-]*(?=/)|[A-Za-z]:(?=\\)|\\(?=\\))?[/\\]"
_PATH = re.compile(
    r"(?P<url>\bhttps?://\S+)"
    # In quotes a path may contain blanks; elsewhere it ends at the first one.
    rf"|(?P<quote>['\"])(?P<option>[\w.-]*=)?(?P<quoted>{_ROOT}(?:(?!(?P=quote)).)*)(?P=quote)"
    rf"|(?<![\w.:/\\+~<-])(?P<bare>{_ROOT}[^\s'\",;()\[\]{{}}]+)"
    rf"|(?<=[\w]:)(?P<after>/(?!/)[^\s'\",;()\[\]{{}}]+)"
)


def without_paths(text: str) -> str:
    """Return `text` with every absolute path cut down to its last part; a home becomes `~`.

    Relative paths and web addresses stay. A text that is one path as a whole may contain blanks.
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
    """Return plain values as they may leave this machine: keys sorted, no absolute path."""
    plain = json.loads(json.dumps(content, sort_keys=True, allow_nan=False))
    return {key: _cleaned(value) for key, value in plain.items()}


def shareable(record: Record) -> Record:
    """Return the record without absolute paths.

    Labels, columns and samples stay letter by letter: they are the data's, and no paths of this
    machine.
    """
    clean = from_json(cleaned(record.to_json()))
    task = replace(clean.task, labels=record.task.labels)
    data = replace(clean.data, columns=record.data.columns, targets=record.data.targets)
    return replace(
        clean,
        task=task,
        data=data,
        changes=record.changes,
        scattered=record.scattered,
        masks=record.masks,
        retrieval=record.retrieval,
        audit=_audit(clean.audit, record.audit),
    )


def _audit(clean: Audit | None, given: Audit | None) -> Audit | None:
    """Return an audit without absolute paths; classes and samples stay as the data has them."""
    if clean is None or given is None:
        return None
    return replace(clean, worst=given.worst, mistakes=given.mistakes)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    if isinstance(value, dict):
        return {without_paths(key): _cleaned(item) for key, item in value.items()}
    return value

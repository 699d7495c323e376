"""What all pages share: templates, styles, and the figures as JSON inside the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edgekd.evaluation.privacy import without_paths

_HERE = Path(__file__).parent
LONGEST_WHOLE = 16
"""Letters of a word that is not broken, also on a phone."""


def environment() -> Environment:
    """Return where templates come from; all text is escaped, and a missing name is an error."""
    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        loader=FileSystemLoader(_HERE),
    )
    made.filters["interval"] = _interval
    made.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    made.filters["whole_words"] = _whole_words
    made.filters["clean"] = without_paths
    return made


def style(*names: str) -> Markup:
    """Return style sheets of this folder, one after the other."""
    return Markup("").join(Markup((_HERE / name).read_text(encoding="utf8")) for name in names)


def embedded(content: Any) -> Markup:
    """Return JSON that no text in it can end early: `<`, `>` and `&` are written as escapes."""
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # ASCII, so U+2028 and the like are escapes already


def _whole_words(text: str) -> Markup:
    """Keep short words with a hyphen, such as top-1, on one line."""
    parts = re.split(r"(?<!\S)(\w+-\w+)(?![^\s,.])", text)
    return Markup("").join(
        Markup('<span class="whole">{}</span>').format(part)
        if i % 2 and len(part) <= LONGEST_WHOLE
        else part
        for i, part in enumerate(parts)
    )


def _interval(text: str) -> Markup:
    """Mark the interval in 'value [low, high]', so that the value is prominent."""
    value, bracket, rest = text.partition(" [")
    if not bracket:
        return Markup("{}").format(value)
    return Markup('{} <span class="ci">[{}</span>').format(value, rest)

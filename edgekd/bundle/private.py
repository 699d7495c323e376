"""Check that nothing that ships identifies the developer or the machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath

from edgekd.errors import ModelError
from edgekd.evaluation.privacy import cleaned
from edgekd.evaluation.record import Record
from edgekd.exporters.onnx_files import traces
from edgekd.exporters.onnx_metadata import user_name

_BINARY = (".npz", ".npy", ".png", ".jpg")
_LEAST_PARTS = 3
_EXAMPLES = frozenset({"net.py", "file.py", "path/to/file.py"})
"""Files that our own advice names, such as --student net.py:build: they are nobody's."""


def private_words(record: Record, folders: Iterable[Path]) -> tuple[str, ...]:
    """Return what must not be in a bundle: the developer's folders and user name.

    A name that the record itself uses (a class called like the user) identifies nobody and is left
    out, as are short and general names.
    """
    places = {str(Path.home()), *(str(folder.resolve()) for folder in folders)}
    words = [place for place in places if len(PurePath(place).parts) >= _LEAST_PARTS]
    user = user_name()
    if user and user not in json.dumps(record.to_json()):
        words.append(user)
    return tuple(sorted(words))


def named_sources(record: Record) -> frozenset[str]:
    """Return the .py files that recipe and verdicts name, relative: texts may name these.

    A verdict may name a line of the user's code, or show how a file of their own is given.
    """
    told = [(rung.verdict, rung.reasons, list(rung.left.values())) for rung in record.rungs]
    texts = [record.recipe, record.command, *(rung.history for rung in record.rungs)]
    found = traces(json.dumps([*texts, cleaned({"told": told})]).encode())
    own = frozenset(name for name in found if name.endswith(".py") and name[0] not in "/\\")
    return own | _EXAMPLES


def refuse_traces(folder: Path, words: Sequence[str], sources: frozenset[str]) -> None:
    """Search every file that ships, except pictures and arrays, which contain only numbers.

    Args:
        folder: what would ship.
        words: that must not be there.
        sources: .py files that texts may name; a model may not.

    Raises:
        ModelError: something identifies the developer; the message names file and text.
    """
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        if path.suffix in _BINARY:
            continue
        permitted = frozenset[str]() if path.suffix == ".onnx" else sources
        found = [find for find in traces(path, words) if find not in permitted]
        if found:
            raise ModelError(
                f"{path.relative_to(folder)} contains {', '.join(map(repr, found[:3]))}, which "
                "identifies the machine that made it; rename that file, class or tensor, or "
                "give its path relative to the recipe"
            )

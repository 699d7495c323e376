"""A part of a bundle's loader: from a text to the model's inputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.bundle.app_files import ABOUT, HERE


def read_inputs(text: str) -> dict[str, Any]:
    """Return the model's inputs for a text, or for the content of a file of that name."""
    try:
        content = Path(text).read_bytes().decode()
    except (OSError, ValueError):  # it names no file: it is the text itself
        content = text
    return encode(content)


def read_golden(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the model's inputs for a golden sample."""
    (file,) = files.values()
    return encode(file.read_bytes().decode())


def encode(text: str) -> dict[str, Any]:
    """Return the inputs for a text, [1, length]: its numbers, which are no padding, and so on."""
    ids = tokenizer()(text)
    missing = max(0, ABOUT["min_length"] - len(ids))
    rows = {
        ABOUT["ids"]: ids + [ABOUT["padding"]] * missing,
        ABOUT["mask"]: [1] * len(ids) + [0] * missing,
        ABOUT["types"]: [0] * (len(ids) + missing),
        ABOUT["positions"]: list(range(len(ids) + missing)),
    }
    return {name: np.array([row], ABOUT["dtype"]) for name, row in rows.items() if name}


@cache
def tokenizer() -> Callable[[str], list[int]]:
    """Return the function from a text to its numbers."""
    if ABOUT["kind"] == "tokenizer":
        from tokenizers import Tokenizer  # pip install tokenizers

        pieces = Tokenizer.from_file(str(HERE / ABOUT["files"]["content"]))
        return lambda text: list(pieces.encode(text).ids) or [ABOUT["empty"]]
    lines = (HERE / ABOUT["files"]["vocabulary"]).read_text(encoding="utf-8").split("\n")
    numbers = {word: number for number, word in enumerate(lines[:-1], 2)}

    def count_words(text: str) -> list[int]:
        found = re.findall(ABOUT["pattern"], text.lower() if ABOUT["lower"] else text)
        ids = [numbers.get(word, ABOUT["unknown"]) for word in found[: ABOUT["max_length"]]]
        return ids or [ABOUT["unknown"]]

    return count_words

"""Numbers as tables write them: decimal commas, thousands, and columns of measured numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError

MOST_LEVELS = 20
"""A column with more unlike numbers than this, of which one is not whole, is measured."""
_COMMA = re.compile(r"[-+]?(?:\d+|\d{1,3}(?:[.   ]\d{3})+),\d+")
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+\.\d+")


def parse_number(text: str) -> float:
    """Return a number, which may have a decimal comma (1.234,5) or grouped thousands (1,234.5).

    Raises:
        ValueError: it is none.
    """
    found = text.strip()
    if _COMMA.fullmatch(found):
        return float(re.sub(r"[.   ]", "", found).replace(",", "."))
    return float(found.replace(",", "") if _THOUSANDS.fullmatch(found) else found)


def read_numbers(names: Sequence[str], where: str) -> NDArray[np.float32]:
    """Return a column of texts as numbers.

    Raises:
        DataError: one is none.
    """
    found = np.empty(len(names), np.float32)
    for i, name in enumerate(names):
        try:
            found[i] = parse_number(name)
        except ValueError as error:
            raise DataError(
                f"{where}: a target is not a number ({name!r}, sample {i}); regression needs one "
                "for each sample"
            ) from error
    return found


def is_measured(names: Sequence[str]) -> bool:
    """Tell whether these are measured numbers: too many unlike ones to be classes."""
    unlike = set(names)
    if len(unlike) <= MOST_LEVELS:
        return False
    try:
        return any(not parse_number(name).is_integer() for name in unlike)
    except (ValueError, OverflowError):
        return False

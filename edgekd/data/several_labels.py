"""Several labels of a sample in one cell: "sun|sea", "sun; sea", "['sun', 'sea']", "sun sea"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

_SEPARATORS = "|;,"
Namer = Callable[[Sequence[str]], tuple[NDArray[np.int64], tuple[str, ...]]]
"""Gives numbers to names, and the names in order."""


def read_cells(cells: Sequence[str], name: Namer) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return 0 or 1 for each label, [n, labels], and the names of the labels.

    The separator is the first of "|", ";" and "," that a cell has. Where none has one, it is the
    space, if that makes fewer labels than whole cells do. Cells of 0 and 1 alone are one label.
    """
    if {cell.strip() for cell in cells} <= {"0", "1", "0.0", "1.0"}:
        return np.array([[cell.strip()[0] == "1"] for cell in cells], np.uint8), ()
    rows = [_without_brackets(cell) for cell in cells]
    separator = next((s for s in _SEPARATORS if any(s in row for row in rows)), None)
    if separator is None and len({w for row in rows for w in row.split()}) < len(set(rows)):
        separator = " "
    parts = [row.split(separator or "|") for row in rows]
    found = [[part.strip().strip("'\"") for part in row if part.strip()] for row in parts]
    flat, called = name([part for row in found for part in row])
    table = np.zeros((len(rows), len(called)), np.uint8)
    table[np.repeat(np.arange(len(rows)), [len(row) for row in found]), flat] = 1
    return table, called


def _without_brackets(cell: str) -> str:
    """Return the inside of "[...]", as lists are written into tables."""
    cell = cell.strip()
    return cell[1:-1] if cell[:1] + cell[-1:] in ("[]", "{}", "()") else cell

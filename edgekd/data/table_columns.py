"""Which columns of a table are texts, numbers and labels, and what a row gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekd.data.table_rows import Row
from edgekd.data.written_numbers import parse_number
from edgekd.errors import DataError
from edgekd.tasks.task import Target
from edgekd.wording import option

SPLIT = "split"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns are read."""

    text: str | None
    """None: the table is one of numbers."""
    numbers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """Empty: there are none, or they are left out."""
    wanted: Target | None = None
    noticed: bool = False
    """Whether the labels were found by their 0 and 1, and not by name."""

    @property
    def numeric(self) -> bool:
        """Whether the targets are numbers, and not names."""
        return len(self.labels) > 1 or self.wanted == "value"

    def sample(self, row: Row) -> str | list[float]:
        """Return the text or the numbers of a row.

        Raises:
            ValueError: there is no text, or no number, or more cells than columns.
        """
        if None in row:
            raise ValueError(
                f"{len(row) - 1 + len(row[None])} cells for {len(row) - 1} columns (put texts that "
                "contain the delimiter in quotes)"
            )
        if self.text is None:
            return [read_number(row, name) for name in self.numbers]
        text = row.get(self.text)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"no text in {self.text!r}")
        return text

    def target(self, row: Row) -> str | list[float]:
        """Return the label of a row as text, or its numbers.

        Raises:
            ValueError: there is none.
        """
        first = row.get(self.labels[0]) if self.labels else None
        if self.numeric and len(self.labels) == 1 and isinstance(first, list):
            return [read_number({str(i): one}, str(i)) for i, one in enumerate(first)]
        if self.numeric:
            return [self._number(row, name) for name in self.labels]
        value = row.get(self.labels[0]) if self.labels else "none"
        if value is None or (value == "" and self.wanted != "labels"):
            raise ValueError(f"no label in {self.labels[0]!r}")
        return "|".join(map(str, value)) if isinstance(value, list) else str(value)

    def _number(self, row: Row, name: str) -> float:
        number = read_number(row, name)
        if self.wanted == "labels" and number not in (0, 1):
            raise ValueError(
                f"{row.get(name)!r} in {name!r}, where a label is 0 or 1 (name the columns of the "
                f"labels: {option('data.label_column')})"
            )
        return number

    def split_of(self, row: Row) -> str:
        """Return the split that a row belongs to; "" where that is open."""
        return str(row.get(SPLIT) or "")


def find_columns(
    row: Row,
    path: Path,
    *,
    text: str,
    labels: Sequence[str],
    labelled: bool,
    wanted: Target | None,
) -> Columns:
    """Return what is read of a table whose first row is `row`.

    Several labels of a text may be all its other columns, each 0 or 1.

    Raises:
        DataError: the columns with texts (or only numbers) and labels are missing.
    """
    rest = tuple(n for n in row if n is not None and n not in (*labels, text, SPLIT))
    absent = [name for name in labels if name not in row]
    noticed = bool(absent) and wanted == "labels" and bool(rest) and _all_numbers(row, rest, (0, 1))
    if text in row:
        if not labelled or not (set(row) - {text, SPLIT}):
            return Columns(text=text)
        if noticed:
            return Columns(text=text, labels=rest, wanted=wanted, noticed=True)
        if absent:
            raise _missing(row, path, absent[0])
        return Columns(text=text, labels=tuple(labels), wanted=wanted)
    if (labelled and absent) or not rest:
        raise _missing(row, path, absent[0] if absent and len(absent) < len(labels) else text)
    if not _all_numbers(row, rest):
        raise _missing(row, path, text, strange=rest)
    return Columns(text=None, numbers=rest, labels=tuple(labels) if labelled else (), wanted=wanted)


def read_number(row: Row, name: str) -> float:
    """Return the number in a cell.

    Raises:
        ValueError: there is none.
    """
    value = row.get(name)
    try:
        number = parse_number(str(value))
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise ValueError(f"no number in {name!r}, but {value!r}")
    return number


def _all_numbers(row: Row, names: Sequence[str], allowed: Sequence[float] | None = None) -> bool:
    try:
        found = [read_number(row, name) for name in names]
    except ValueError:
        return False
    return allowed is None or all(number in allowed for number in found)


def _missing(row: Row, path: Path, name: str, *, strange: Sequence[str] = ()) -> DataError:
    words = [repr(n) for n in strange if not _all_numbers(row, [n])]
    no_numbers = f"no numbers are in its first row of {', '.join(words[:5])}; " if words else ""
    return DataError(
        f"{path} has the columns {', '.join(str(one) for one in row)}, but no {name!r}; "
        f"{no_numbers}give the right names, {option('data.text_column')} and "
        f"{option('data.label_column')} (.csv or .tsv need a first line with the names; a table "
        "without texts needs a number in every column but the label's), or state that there are no "
        f"labels: {option('task', 'reference')}"
    )

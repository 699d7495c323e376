"""Which columns of a table are texts, numbers and labels, and what a row gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgekd.data.table_pictures import find_root
from edgekd.data.table_rows import Row
from edgekd.data.written_numbers import Decimal, parse_number
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
    pictures: bool = False
    """Whether `text` names picture files."""
    mate: str | None = None
    """A second column of texts, each of which belongs to the text of its row."""
    decimals: Mapping[str, Decimal] = field(default_factory=dict)
    """The decimal sign of columns with numbers."""
    noticed: str = ""
    """What was found by content and not by name, in words."""

    @property
    def numeric(self) -> bool:
        """Whether the targets are numbers, and not names."""
        return len(self.labels) > 1 or self.wanted == "value" or self.mate is not None

    @property
    def written(self) -> tuple[str, ...]:
        """The columns that contain numbers."""
        return (*self.numbers, *(self.labels if self.numeric else ()))

    def sample(self, row: Row) -> str | list[str] | list[float]:
        """Return the text, the pair of texts or the numbers of a row.

        Raises:
            ValueError: there is no text, or no number, or more cells than columns.
        """
        if None in row:
            raise ValueError(
                f"{len(row) - 1 + len(row[None])} cells for {len(row) - 1} columns (put texts that "
                "contain the delimiter in quotes)"
            )
        if self.text is None:
            return [self._read(row, name) for name in self.numbers]
        if self.mate is not None:
            return [_text(row, self.text), _text(row, self.mate)]
        return _text(row, self.text)

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
        number = self._read(row, name)
        if self.wanted == "labels" and number not in (0, 1):
            raise ValueError(
                f"{row.get(name)!r} in {name!r}, where a label is 0 or 1 (name the columns of the "
                f"labels: {option('data.label_column')})"
            )
        return number

    def _read(self, row: Row, name: str) -> float:
        return read_number(row, name, self.decimals.get(name, "either"))

    def split_of(self, row: Row) -> str:
        """Return the split that a row belongs to; "" where that is open."""
        return str(row.get(SPLIT) or "")


_PAIRS = (
    ("anchor", "positive"), ("text1", "text2"), ("text_a", "text_b"), ("query", "passage"),
    ("sentence1", "sentence2"), ("sentence_a", "sentence_b"), ("question1", "question2"),
    ("a", "b"), ("source", "target"), ("premise", "hypothesis"),
)  # fmt: skip
"""Columns of pairs of texts, by their usual names."""


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

    Without a column of the name `text`, one that names a picture is taken. Several labels of a text
    or picture may be all its other columns, each 0 or 1.

    Raises:
        DataError: the columns with texts (or only numbers) and labels are missing.
    """
    pair = next((p for p in _PAIRS if wanted == "identity" and {*p} <= set(row)), None)
    if pair is not None and text not in row:
        named = tuple(labels) if labelled and set(labels) <= set(row) else ()
        words = f"each row is a pair of {pair[0]!r} and {pair[1]!r}"
        return Columns(text=pair[0], mate=pair[1], labels=named, noticed=words)
    found = next((n for n in row if n is not None and find_root(row[n], path)), None)
    if text not in row and found is not None:
        text = found
    rest = tuple(n for n in row if n is not None and n not in (*labels, text, SPLIT))
    absent = [name for name in labels if name not in row]
    if text in row:
        is_pictures = find_root(row[text], path) is not None
        words = f"the column {text!r} names the pictures" if is_pictures else ""
        if not labelled or not (set(row) - {text, SPLIT}):
            return Columns(text=text, pictures=is_pictures, noticed=words)
        if absent and wanted == "labels" and rest and _all_numbers(row, rest, (0, 1)):
            words = f"{words}{words and '; '}its columns of 0 and 1 are labels: {', '.join(rest)}"
            return Columns(
                text=text, labels=rest, wanted=wanted, pictures=is_pictures, noticed=words
            )
        if absent:
            raise _no_label(row, path, absent[0], rest, wanted)
        return Columns(
            text=text, labels=tuple(labels), wanted=wanted, pictures=is_pictures, noticed=words
        )
    strange = [name for name in rest if not _all_numbers(row, [name])]
    if strange or not rest:
        raise _no_text(row, path, text, strange)
    if labelled and absent:
        raise _no_label(row, path, absent[0], rest, wanted)
    return Columns(text=None, numbers=rest, labels=tuple(labels) if labelled else (), wanted=wanted)


def _text(row: Row, name: str) -> str:
    text = row.get(name)
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"no text in {name!r}")
    return text


def read_number(row: Row, name: str, decimal: Decimal = "either") -> float:
    """Return the number in a cell.

    Raises:
        ValueError: there is none.
    """
    value = row.get(name)
    try:
        number = parse_number(str(value), decimal)
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


def _no_label(
    row: Row, path: Path, name: str, rest: Sequence[str], wanted: Target | None
) -> DataError:
    """Say that there is no column of labels, with the columns that may be meant."""
    likely: object = rest[-1] if rest else "COLUMN"
    if wanted == "labels":
        likely = [n for n in rest if _all_numbers(row, [n], (0, 1))] or likely
    named = option("data.label_column", likely)
    if wanted == "label" and rest and _is_measured(row, rest[-1]):
        named += f" {option('task', 'regression')} (its values are measured numbers)"
    return DataError(
        f"{path} has the columns {_listed(row)}, but no {name!r}; name the column with the labels, "
        f"for instance {named}, or state that there are no labels: {option('task', 'reference')}"
    )


def _is_measured(row: Row, name: str) -> bool:
    """Tell whether a cell contains a number that is not whole, and so names no class."""
    try:
        return not read_number(row, name).is_integer()
    except ValueError:
        return False


def _no_text(row: Row, path: Path, name: str, strange: Sequence[str]) -> DataError:
    """Say that there is neither a column of texts nor numbers alone."""
    words = ", ".join(f"{n!r} ({str(row[n])[:30]!r})" for n in strange[:5])
    return DataError(
        f"{path} has the columns {_listed(row)}, but no {name!r}"
        f"{f', and no numbers are in its first row of {words}' if words else ''}. A table has a "
        f"first line with the names, and one column of texts ({option('data.text_column')} names "
        "it) or of picture files that lie beside it, or numbers in every column but the label's: "
        "take other columns away"
    )


def _listed(row: Row) -> str:
    return ", ".join(str(one) for one in row)

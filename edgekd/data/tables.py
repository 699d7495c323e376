"""Read texts or numbers from .csv or .tsv (first line: the columns), .jsonl or .txt.

A .txt contains one text a line, without labels. A table without a column of texts is read as
numbers: its columns besides label and split are the array "x", [n, columns]. The delimiter (comma,
semicolon, tab or "|") is that of the first line. Encodings are UTF-8, and UTF-16 with its mark.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from edgekd.data.arrays import split_name
from edgekd.data.dataset import Arrays, Dataset
from edgekd.data.targets import read_target
from edgekd.data.written_numbers import parse_number
from edgekd.errors import DataError
from edgekd.tasks.task import Target
from edgekd.wording import option

SUFFIXES = (".csv", ".tsv", ".jsonl", ".txt")
_DELIMITERS = ",;\t|"
_MAX_FIELD = 10**8  # characters; csv's own limit of 131,072 is less than a long article
_SPLIT = "split"
Row = Mapping[str | None, Any]
"""Column -> cell; None -> the cells beyond the last column."""


@dataclass(frozen=True)
class _Columns:
    """Which columns are read."""

    text: str | None
    """None: the table is one of numbers."""
    numbers: tuple[str, ...]
    label: str | None
    """None: there are no labels, or they are left out."""
    may_be_empty: bool
    """Whether an empty cell is a label: several may be none."""

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
            return [_number(row, name) for name in self.numbers]
        text = row.get(self.text)
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"no text in {self.text!r}")
        return text

    def target(self, row: Row) -> str:
        """Return the label of a row as text.

        Raises:
            ValueError: there is none.
        """
        value = "none" if self.label is None else row.get(self.label)
        if value is None or (value == "" and not self.may_be_empty):
            raise ValueError(f"no label in {self.label!r}")
        return "|".join(map(str, value)) if isinstance(value, list) else str(value)


def open_table(
    path: Path,
    *,
    text_column: str,
    label_column: str,
    labels: Sequence[str] | None,
    wanted: Target | None = None,
    labelled: bool = True,
    skip_broken: bool = False,
) -> Dataset:
    """Read samples and targets; a column `split` (train, validation, test) fixes the splits.

    A table of texts alone has no labels. `labelled` = False leaves those of another one out.
    `wanted` is the target that the task wants, see `read_target`.

    Raises:
        DataError: a column is missing, or a row has no text or label and `skip_broken` is off.
    """
    samples: list[str | list[float]] = []
    names: list[str] = []
    splits: list[str] = []
    skipped: list[str] = []
    columns: _Columns | None = None
    with _text_file(path) as file:
        for line, row in _rows(file, path, {text_column, label_column}):
            if columns is None:
                columns = replace(
                    _columns(row, path, text_column, label_column, labelled=labelled),
                    may_be_empty=wanted == "labels",
                )
            try:
                sample, name = columns.sample(row), columns.target(row)
            except ValueError as error:
                if not skip_broken:
                    raise DataError(
                        f"{path} line {line} has {error}; fix it, or leave such rows out with "
                        f"{option('data.skip_broken', True)}"
                    ) from error
                skipped.append(f"{path.name} line {line}")
                continue
            samples.append(sample)
            names.append(name)
            splits.append(str(row.get(_SPLIT) or ""))
    if columns is None or not samples:
        raise DataError(f"{path} contains no row with a text and a label; give some")
    arrays: Arrays = {"text": np.array(samples, dtype=object)}
    if columns.text is None:
        arrays = {"x": np.array(samples, np.float32)}
    targets, ordered = dict[str, NDArray[Any]](), tuple[str, ...]()
    if columns.label is not None:
        array = np.array(names, dtype=object)
        target, array, ordered = read_target(array, wanted=wanted, labels=labels, where=str(path))
        targets[target] = array
    return Dataset(
        "array" if columns.text is None else "text",
        arrays,
        targets,
        ordered,
        fixed=_fixed(splits, path),
        skipped=tuple(skipped),
    )


def _columns(
    row: Row, path: Path, text_column: str, label_column: str, *, labelled: bool
) -> _Columns:
    """Return what is read of a table whose first row is `row`.

    Raises:
        DataError: the columns with texts (or only numbers) and labels are missing.
    """
    rest = [name for name in row if name is not None and name not in (label_column, _SPLIT)]
    if text_column in row:
        labelled = labelled and bool(set(row) - {text_column, _SPLIT})
        if labelled and label_column not in row:
            raise _missing(row, path, label_column)
        return _Columns(text_column, (), label_column if labelled else None, False)
    if not rest or (labelled and label_column not in row) or not _all_numbers(row, rest):
        raise _missing(row, path, label_column if text_column in row else text_column)
    return _Columns(None, tuple(rest), label_column if labelled else None, False)


def _all_numbers(row: Row, names: Sequence[str]) -> bool:
    try:
        return all(np.isfinite(_number(row, name)) for name in names)
    except ValueError:
        return False


def _number(row: Row, name: str) -> float:
    value = row.get(name)
    try:
        number = parse_number(str(value))
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise ValueError(f"no number in {name!r}, but {value!r}")
    return number


def _missing(row: Row, path: Path, name: str) -> DataError:
    return DataError(
        f"{path} has the columns {', '.join(str(one) for one in row)}, but no {name!r}; give the "
        f"right names, {option('data.text_column')} and {option('data.label_column')} (.csv or "
        ".tsv need a first line with the "
        "names; a table without texts needs a number in every column but the label's), or state "
        f"that there are no labels: {option('task', 'reference')}"
    )


@contextlib.contextmanager
def _text_file(path: Path) -> Iterator[TextIO]:
    old = csv.field_size_limit(_MAX_FIELD)
    try:
        with path.open("rb") as raw:
            marked = raw.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        with path.open(encoding="utf-16" if marked else "utf-8-sig", newline="") as file:
            yield file
    except UnicodeError as error:
        raise DataError(
            f"{path} is not UTF-8 ({error}); save it as UTF-8 (a spreadsheet's CSV UTF-8)"
        ) from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); write it again") from error
    finally:
        csv.field_size_limit(old)


def _rows(file: TextIO, path: Path, wanted: set[str]) -> Iterator[tuple[int, Row]]:
    suffix = path.suffix.lower()
    if suffix == ".txt":
        for line, text in enumerate(file, 1):
            if text.strip():
                yield line, {"text": text.strip()}
        return
    if suffix != ".jsonl":
        delimiter, names = _header(file, wanted)
        reader = csv.DictReader(file, fieldnames=names, delimiter=delimiter)
        next(reader, None)  # the names
        for row in reader:
            yield reader.line_num, row
        return
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except ValueError as error:
            raise DataError(f"{path} line {line} is not JSON ({error}); fix it") from error
        if not isinstance(value, dict):
            raise DataError(f"{path} line {line} is {text[:40]!r}; expected one object per line")
        yield line, value


def _header(file: TextIO, wanted: set[str]) -> tuple[str, list[str]]:
    """Return the delimiter and the names of the columns; the file is then at the line of names.

    The delimiter is that which finds most of the columns `wanted`; of equals, most columns. Spaces
    around names are dropped, and names of other case than `wanted` count as these. A first line
    such as "sep=;", which is for spreadsheets, is passed over.
    """
    hint = re.fullmatch(r'"?sep=(.)"?\s*', file.readline())
    start = file.tell() if hint else 0
    found = []
    for delimiter in hint[1] if hint else _DELIMITERS:
        file.seek(start)
        names = [name.strip() for name in next(csv.reader(file, delimiter=delimiter), [])]
        for name in wanted - set(names):
            names = [name if other.lower() == name.lower() else other for other in names]
        found.append((len(wanted & set(names)), len(names), delimiter, names))
    file.seek(start)
    best = max(found, key=lambda one: one[:2])
    return best[2], best[3]


def _fixed(splits: list[str], path: Path) -> dict[str, NDArray[np.int64]]:
    fixed: dict[str, NDArray[np.int64]] = {}
    for name in sorted(set(splits) - {""}):
        split = split_name(name)
        if split is None:
            raise DataError(f"{path}: split {name!r} is not known; use train, validation or test")
        where = np.flatnonzero(np.array(splits) == name)
        fixed[split] = np.sort(np.concatenate([fixed.get(split, where[:0]), where])).astype(
            np.int64
        )
    return fixed

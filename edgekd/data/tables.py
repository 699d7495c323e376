"""Read texts, numbers or pictures from .csv or .tsv (first line: the columns), .jsonl or .txt.

A .txt contains one text a line, without labels. A table without a column of texts is read as
numbers: its columns besides label and split are the array "x", [n, columns]. A column of texts may
name pictures beside the table, which are then the samples. The delimiter (comma,
semicolon, tab or "|") is that of the first line. Encodings are UTF-8, and UTF-16 with its mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.array_rows import take_apart
from edgekd.data.arrays import split_name
from edgekd.data.dataset import Arrays, Dataset, Kind
from edgekd.data.table_columns import Columns, find_columns
from edgekd.data.table_pictures import Decoding, decode_named
from edgekd.data.table_rows import find_delimiter, open_text, read_rows
from edgekd.data.targets import name_identities, read_target
from edgekd.data.written_numbers import Decimal, Written, parse_number
from edgekd.errors import DataError
from edgekd.progress import Silent
from edgekd.tasks.task import Target
from edgekd.wording import option

SUFFIXES = (".csv", ".tsv", ".jsonl", ".txt")


@dataclass(frozen=True)
class _Read:
    """The rows that can be read."""

    columns: Columns
    samples: list[str | list[str] | list[float]]
    targets: list[Any]
    splits: list[str]
    skipped: tuple[str, ...]


def open_table(
    path: Path,
    *,
    text_column: str,
    label_column: str | Sequence[str],
    labels: Sequence[str] | None,
    wanted: Target | None = None,
    labelled: bool = True,
    skip_broken: bool = False,
    decoding: Decoding | None = None,
) -> Dataset:
    """Read samples and targets; a column `split` (train, validation, test) fixes the splits.

    A table of texts alone has no labels. `labelled` = False leaves those of another one out.
    `wanted` is the target that the task wants, see `read_target`. Several `label_column`s are
    numbers each: values to predict, or 0 and 1 for each label.

    Raises:
        DataError: a column is missing, or a row has no text or label and `skip_broken` is off.
    """
    how = decoding or Decoding()
    asked = (label_column,) if isinstance(label_column, str) else tuple(label_column)
    find = _Finder(path, text_column, asked if labelled else (), asked, wanted)
    found = _read(path, find, skip_broken=skip_broken)
    columns = found.columns
    if columns.noticed:
        (how.progress or Silent()).say(f"{path.name}: {columns.noticed}")
    if columns.mate is not None:
        return _of_pairs(found, path)
    targets, ordered = dict[str, NDArray[Any]](), tuple[str, ...]()
    pictures, kept = None, list(range(len(found.samples)))
    if columns.pictures:
        names = [str(name) for name in found.samples]
        pictures, kept = decode_named(names, path, skip_broken=skip_broken, decoding=how)
    if columns.labels:
        array = _joined([found.targets[i] for i in kept], columns)
        called = columns.labels if columns.numeric and wanted in ("labels", "value") else None
        target, array, ordered = read_target(
            array, wanted=wanted, labels=labels or called, where=str(path)
        )
        if target == "labels" and not ordered:
            ordered = columns.labels
        targets[target] = array
    named = dict.fromkeys(targets, columns.labels)
    fixed = _fixed([found.splits[i] for i in kept], path)
    if pictures is not None:
        skipped = (*found.skipped, *pictures.skipped)
        return replace(
            pictures, targets=targets, labels=ordered, fixed=fixed, skipped=skipped, columns=named
        )
    arrays: Arrays = {"text": np.array(found.samples, dtype=object)}
    if columns.text is None:
        arrays = {"x": np.array(found.samples, np.float32)}
        named["x"] = columns.numbers
    kind: Kind = "array" if columns.text is None else "text"
    return Dataset(
        kind, arrays, targets, ordered, fixed=fixed, skipped=found.skipped, columns=named
    )


def _of_pairs(found: _Read, path: Path) -> Dataset:
    """Return the texts of both columns, with who belongs to whom."""
    together = _joined(found.targets, found.columns) if found.columns.labels else None
    if together is not None and not np.isin(together, (0, 1)).all():
        raise DataError(
            f"{path}: {found.columns.labels[0]!r} has values from {together.min():g} to "
            f"{together.max():g}; for pairs it is 1 where both texts belong together and else 0"
        )
    both = np.array(found.samples, dtype=object)
    fixed = _fixed(found.splits, path)
    arrays, owner, parts = take_apart({"a": both[:, 0], "b": both[:, 1]}, together, fixed)
    number, called = name_identities(owner)
    texts = {"text": arrays["x"]}
    return Dataset("text", texts, {"label": number}, called, fixed=parts, skipped=found.skipped)


@dataclass(frozen=True)
class _Finder:
    """What is asked of a table."""

    path: Path
    text: str
    labels: tuple[str, ...]
    """Empty: labels are left out."""
    named: tuple[str, ...]
    """The label columns, also where they are left out."""
    wanted: Target | None

    def columns(self, row: Any) -> Columns:
        return find_columns(
            row,
            self.path,
            text=self.text,
            labels=self.named,
            labelled=bool(self.labels),
            wanted=self.wanted,
        )


def _read(path: Path, find: _Finder, *, skip_broken: bool) -> _Read:
    samples: list[str | list[str] | list[float]] = []
    targets, splits, skipped = [], [], []
    columns: Columns | None = None
    with open_text(path) as file:
        for line, row in read_rows(file, path, {find.text, *find.named}):
            columns = columns or _with_decimals(find.columns(row), find)
            try:
                sample, target = columns.sample(row), columns.target(row)
            except ValueError as error:
                if not skip_broken:
                    raise DataError(
                        f"{path} line {line} has {error}; fix it, or leave such rows out with "
                        f"{option('data.skip_broken', True)}"
                    ) from error
                skipped.append(f"{path.name} line {line}")
                continue
            samples.append(sample)
            targets.append(target)
            splits.append(columns.split_of(row))
    if columns is None or not samples:
        more = f" ({len(skipped)} were left out because they cannot be read)" if skipped else ""
        raise DataError(f"{path} contains no row with a text and a label{more}; give some")
    return _Read(columns, samples, targets, splits, tuple(skipped))


def _with_decimals(columns: Columns, find: _Finder) -> Columns:
    """Return the columns with the decimal sign of each, which only the whole file shows."""
    written = {name: Written() for name in columns.written}
    if not written:
        return columns
    wanted = {find.text, *find.named}
    with open_text(find.path) as file:
        separator = find_delimiter(file, find.path, wanted)
    with open_text(find.path) as file:
        for _, row in read_rows(file, find.path, wanted):
            for name, seen in written.items():
                seen.see(str(row.get(name)))
    decimals, noticed = dict[str, Decimal](), [columns.noticed] if columns.noticed else []
    for name, seen in written.items():
        try:
            decimals[name] = seen.decide(written.values(), separator=separator)
        except ValueError as error:
            raise DataError(f"{find.path}: the column {name!r} has {error}") from error
        if seen.alone:
            value = parse_number(seen.unclear, decimals[name])
            noticed.append(f"{seen.unclear!r} in {name!r} is read as {value:.10g}")
    return replace(columns, decimals=decimals, noticed="; ".join(noticed))


def _joined(targets: list[Any], columns: Columns) -> NDArray[Any]:
    """Return the targets as texts [n], numbers [n], or numbers [n, columns]: whole ones as such."""
    if not columns.numeric:
        return np.array(targets, dtype=object)
    array = np.array(targets, np.float64)
    array = array[:, 0] if array.shape[1] == 1 and columns.wanted != "labels" else array
    return array.astype(np.int64) if not (array % 1).any() and array.ndim == 2 else array


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

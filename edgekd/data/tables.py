"""Read texts from .csv, .tsv (with column names in the first line), .jsonl or .txt, in UTF-8.

A .txt contains one text a line, without labels.
"""

from __future__ import annotations

import contextlib
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from edgekd.data.arrays import name_classes, split_name
from edgekd.data.dataset import Dataset
from edgekd.errors import DataError

SUFFIXES = (".csv", ".tsv", ".jsonl", ".txt")
_MAX_FIELD = 10**8  # characters; csv's own limit of 131,072 is less than a long article
Row = Mapping[str, Any]


def open_table(
    path: Path,
    *,
    text_column: str,
    label_column: str,
    labels: Sequence[str] | None,
    labelled: bool = True,
    skip_broken: bool = False,
) -> Dataset:
    """Read texts and labels; a column `split` (train, validation, test), if any, fixes the splits.

    A table of texts alone has no labels. `labelled` = False leaves those of another one out.

    Raises:
        DataError: a column is missing, or a row has no text or label and `skip_broken` is off.
    """
    texts: list[str] = []
    names: list[str] = []
    splits: list[str] = []
    skipped: list[str] = []
    with _text_file(path) as file:
        for line, row in _rows(file, path):
            if not texts and not skipped:
                labelled = labelled and bool(set(row) - {text_column, "split"})
                _check_columns(row, path, [text_column, *([label_column] if labelled else [])])
            text, name = row.get(text_column), row.get(label_column) if labelled else "none"
            if not isinstance(text, str) or not text.strip() or name in (None, ""):
                if not skip_broken:
                    raise DataError(
                        f"{path} line {line} has no text in {text_column!r} or no label in "
                        f"{label_column!r}; fix it, or leave such rows out with skip_broken = true"
                    )
                skipped.append(f"{path.name} line {line}")
                continue
            texts.append(text)
            names.append(str(name))
            splits.append(str(row.get("split") or ""))
    if not texts:
        raise DataError(f"{path} contains no row with a text and a label; give some")
    targets, ordered = {}, tuple[str, ...]()
    if labelled:
        targets["label"], ordered = name_classes(names, labels)
    return Dataset(
        "text",
        {"text": np.array(texts, dtype=object)},
        targets,
        ordered,
        fixed=_fixed(splits, path),
        skipped=tuple(skipped),
    )


@contextlib.contextmanager
def _text_file(path: Path) -> Iterator[TextIO]:
    old = csv.field_size_limit(_MAX_FIELD)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); write it again") from error
    finally:
        csv.field_size_limit(old)


def _rows(file: TextIO, path: Path) -> Iterator[tuple[int, Row]]:
    if path.suffix == ".txt":
        for line, text in enumerate(file, 1):
            if text.strip():
                yield line, {"text": text.strip()}
        return
    if path.suffix != ".jsonl":
        reader = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
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


def _check_columns(row: Row, path: Path, wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in row]
    if missing:
        raise DataError(
            f"{path} has the columns {', '.join(str(name) for name in row)}, but no "
            f"{missing[0]!r}; give the right names in text_column and label_column (.csv or .tsv "
            "need a first line with the names), or state that there are no labels: "
            "task = 'reference', or edgekd quantize --no-labels"
        )


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

"""The rows of a table file: encodings, delimiters, names of columns."""

from __future__ import annotations

import codecs
import contextlib
import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from edgekd.errors import DataError

_DELIMITERS = ",;\t|"
_MAX_FIELD = 10**8  # characters; csv's own limit of 131,072 is less than a long article
Row = Mapping[str | None, Any]
"""Column -> cell; None -> the cells beyond the last column."""


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a table as text.

    Raises:
        DataError: it is neither UTF-8 nor UTF-16, or cannot be read.
    """
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


def read_rows(file: TextIO, path: Path, wanted: set[str]) -> Iterator[tuple[int, Row]]:
    """Yield the number of the line and the row; `wanted` are columns, in any case of letters.

    Raises:
        DataError: a line of a .jsonl is no object.
    """
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


def find_delimiter(file: TextIO, path: Path, wanted: set[str]) -> str:
    """Return what separates the columns; "" in a file of another form."""
    return "" if path.suffix.lower() in (".txt", ".jsonl") else _header(file, wanted)[0]


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

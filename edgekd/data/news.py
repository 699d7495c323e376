"""Read the two public sets of news texts: Reuters R8 and 20 Newsgroups, as Orange's tables.

Each has a file for training and one for the test. Three header rows and an empty one come before
rows of class and text, which is lower-case words.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from edgekd.data.dataset import Dataset
from edgekd.errors import DataError

_HEADER = 3
_LONGEST = 10**9  # characters of a field; the module's own limit is shorter than a text here


def open_news(folder: Path, stem: str) -> Dataset:
    """Return the texts of `{stem}-train.tab` and `{stem}-test.tab`; both parts are fixed.

    Classes are in alphabetical order.

    Raises:
        DataError: a file cannot be read.
    """
    texts: list[str] = []
    classes: list[str] = []
    fixed = {}
    for part in ("train", "test"):
        rows = _rows(folder / f"{stem}-{part}.tab")
        fixed[part] = np.arange(len(texts), len(texts) + len(rows))
        texts += [text for _, text in rows]
        classes += [name for name, _ in rows]
    names = tuple(sorted(set(classes)))
    place = {name: i for i, name in enumerate(names)}
    return Dataset(
        "text",
        {"text": np.array(texts, dtype=object)},
        {"label": np.array([place[name] for name in classes], np.int64)},
        names,
        licence="unknown",  # the texts have terms of their own
        fixed=fixed,
    )


def _rows(path: Path) -> list[tuple[str, str]]:
    before = csv.field_size_limit(_LONGEST)
    try:
        with path.open(encoding="utf8", newline="") as file:
            table = list(csv.reader(file, delimiter="\t"))[_HEADER:]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}); remove it and fetch it again") from error
    finally:
        csv.field_size_limit(before)
    return [(row[0], row[1]) for row in table if len(row) == 2 and row[0]]

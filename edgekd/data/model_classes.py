"""Number the classes of a dataset as a model does that states the names of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekd.data.dataset import Dataset
from edgekd.errors import DataError
from edgekd.wording import describe_root


def number_classes(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Return the dataset with the classes of a model, of which it may have a part.

    Its own names, as of folders, are looked up in those of the model. Classes that it only counts
    are taken for the model's numbers. Else it is returned unchanged.

    Args:
        dataset: one label for each sample, or none.
        names: of the model's classes, in its order.
    """
    label, own = dataset.targets.get("label"), dataset.labels
    if label is None or label.ndim != 1 or tuple(own) == tuple(names):
        return dataset
    if all(name in names for name in own):
        place = np.array([names.index(name) for name in own], np.int64)
    elif own == tuple(map(str, range(len(own)))) and len(own) <= len(names):
        place = np.arange(len(own))
    else:
        return dataset
    targets = {**dataset.targets, "label": place[label]}
    return replace(dataset, targets=targets, labels=tuple(names), folders=())


def read_class_list(path: Path) -> tuple[str, ...]:
    """Return the names in a text file, one a line.

    Raises:
        DataError: it cannot be read, is empty, or has a name twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the class list {path} cannot be read ({error}); give a text file with one name per "
            f"line; {describe_root()}"
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None or not names:
        what = "is empty" if double is None else f"contains {double!r} twice"
        raise DataError(f"the class list {path} {what}; give each class once, in the model's order")
    return names

"""Which order of the classes fits a model's answers, and whether folders are classes at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgekd.data.targets import natural_order
from edgekd.errors import few
from edgekd.wording import option, without_labels


def describe_folders(folders: Sequence[str], outputs: int) -> str:
    """Say that folders were taken as classes, and how to leave that; "" where there are none.

    Args:
        folders: their names.
        outputs: the number of the model's classes; 0: it has none, or it is not known.
    """
    if not folders:
        return ""
    have = f"; the model has {outputs}" if outputs not in (0, len(folders)) else ""
    return (
        f"The {len(folders)} folders {few(folders)} were taken as classes{have}. If they are "
        f"not classes, ignore the labels: {without_labels()}."
    )


def find_order(label: NDArray[np.int64], answer: NDArray[np.int64], names: Sequence[str]) -> str:
    """Return which order of the classes fits the answers, in words, or "" if none does.

    It must be right far more often than the commonest class, and than a chance permutation would.

    Args:
        label: class of each sample, by the order of `names`.
        answer: what the model gives for each.
        names: of the data's classes, in the order of the data.
    """
    share = float(np.bincount(label).max()) / len(label)
    for title, order in _orders(label, answer, names):
        place = {name: i for i, name in enumerate(order)}
        renamed = np.array([place.get(name, -1) for name in names])[label]
        right = float((renamed == answer).mean())
        if right > max(0.6, 2 * share):
            return (
                f"With its classes in {title} it is right in {100 * right:.1f} %: give "
                f"{option('data.labels', list(order))}."
            )
    for shift in (1, -1):
        right = float((label + shift == answer).mean())
        if right > max(0.6, 2 * share):
            return (
                f"With every class number {'raised' if shift == 1 else 'lowered'} by one it is "
                f"right in {100 * right:.1f} %: the model counts its classes from another number "
                f"than the data; name all classes of the model in order: {option('data.labels')}."
            )
    return ""


def _orders(
    label: NDArray[np.int64], answer: NDArray[np.int64], names: Sequence[str]
) -> Iterator[tuple[str, Sequence[str]]]:
    yield "text order", sorted(names)
    yield "number order", sorted(names, key=natural_order)
    yield "text order without regard to capitals", sorted(names, key=str.casefold)
    yield "reverse order", list(reversed(names))
    table = np.zeros((len(names), max(len(names), int(answer.max()) + 1)), np.int64)
    np.add.at(table, (label, answer), 1)
    mostly = table.argmax(axis=1)
    if len(set(mostly.tolist())) == len(names) == int(mostly.max()) + 1:
        yield "the order that its answers suggest", [names[i] for i in np.argsort(mostly)]

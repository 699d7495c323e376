"""Read targets: one class, 0 or 1 for each label, or numbers.

The task decides (`wanted`). Where it leaves that open, the form of the array does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.several_labels import read_cells
from edgekd.data.written_numbers import is_measured, read_numbers
from edgekd.errors import DataError
from edgekd.tasks.task import Target
from edgekd.wording import option

MOST_SCALE = 30.0
"""Numbers beyond it are far from what a network gives at its start."""
Named = tuple[Target, NDArray[Any], tuple[str, ...]]
"""Name of the target, its array, and the names of classes or labels (where there are any)."""


def read_target(
    array: NDArray[Any], *, wanted: Target | None, labels: Sequence[str] | None, where: str
) -> Named:
    """Return what an array [n] or [n, several] of numbers or names is.

    Names become the numbers of classes. With `wanted` = "labels", a name is several that are
    separated, see `read_cells`.

    Raises:
        DataError: it can be none of them, or not what is wanted.
    """
    if array.ndim == 2 and array.shape[1] == 1 and wanted != "labels":
        array = array[:, 0]
    if wanted == "identity" and array.ndim == 1 and _names_things(array):
        return "label", *name_identities(array)
    if array.dtype.kind in "OUT" and array.ndim == 1:
        return _of_names([str(name) for name in array], wanted, labels, where)
    if array.dtype.kind not in "buif":
        raise DataError(
            f"{where}: the targets are {array.dtype} {list(array.shape)}; numbers, or names [n], "
            "were expected"
        )
    check_finite("the target array", array, where)
    if wanted == "mask":
        return "mask", read_masks(array, where), tuple(labels or ())
    return _of_numbers(array, wanted, labels, where)


def _of_numbers(
    array: NDArray[Any], wanted: Target | None, labels: Sequence[str] | None, where: str
) -> Named:
    is_binary = array.ndim <= 2 and bool(np.isin(array, (0, 1)).all())
    if wanted == "labels" and is_binary:
        return "labels", array.reshape(len(array), -1).astype(np.uint8), tuple(labels or ())
    if wanted == "value":
        return "value", array.astype(np.float32), tuple(labels or ())
    if wanted == "labels" and array.ndim == 2:
        raise DataError(
            f"{where}: the targets {list(array.shape)} have values from {array.min():g} to "
            f"{array.max():g}; several labels are 1 where a sample has the label and else 0"
        )
    several = array.ndim == 2 and array.shape[1] > 1 and is_binary
    if several and (array.dtype.kind != "f" or wanted == "label"):
        return "labels", array.astype(np.uint8), tuple(labels or ())
    if array.dtype.kind == "f":
        return "value", array.astype(np.float32), ()
    if array.ndim != 1:
        raise DataError(
            f"{where}: the targets are {array.dtype} {list(array.shape)}; expected are class "
            "numbers or names [n], 0 or 1 for each label [n, labels], float values, or with "
            f"{option('task', 'segmentation')} class numbers of pixels [n, height, width]"
        )
    number = array.astype(np.int64)
    names = labels or ([str(i) for i in range(int(number.max()) + 1)] if len(number) else ())
    return "label", number, tuple(names)


def natural_order(name: str) -> tuple[tuple[bool, int, str], ...]:
    """Return a sort key that compares runs of digits as numbers: class2 before class10."""
    parts = re.findall(r"\d+|\D+", name)
    return tuple((not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts)


def read_masks(array: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Return the class of each pixel, uint8 [n, height, width]; masks of 0 and 255 are 0 and 1.

    Raises:
        DataError: it is not [n, height, width] or [n, height, width, 1] of whole numbers from 0 to
            255.
    """
    if array.ndim == 4 and 1 in (array.shape[1], array.shape[3]):
        array = array[..., 0] if array.shape[3] == 1 else array[:, 0]
    is_whole = array.dtype.kind in "bui" or (array.dtype.kind == "f" and not (array % 1).any())
    if array.ndim != 3 or not is_whole:
        raise DataError(
            f"{where}: masks are class numbers, whole, [n, height, width]; got {array.dtype} "
            f"{list(array.shape)}"
            + ("; of one-hot masks give the class numbers, y.argmax(-1)" * (array.ndim == 4))
        )
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > 255:
        raise DataError(
            f"{where}: the masks have class numbers from {low} to {high}; 0 to 254 are possible, "
            "and 255 for pixels that do not count"
        )
    found: NDArray[np.uint8] = array.astype(np.uint8, copy=False)
    is_black_and_white = high == 255 and bool(np.isin(found, (0, 255)).all())
    return np.minimum(found, 1) if is_black_and_white else found


def name_classes(
    names: Sequence[str] | NDArray[Any], labels: Sequence[str] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return (class number of each name [n], the classes in order).

    Without `labels` the order is alphabetical, by value where all names are whole numbers. With
    them it is theirs; where the names are 0, 1, ... `labels` may be what these are called.

    Raises:
        DataError: a name is not among `labels`.
    """
    found, number = np.unique(np.asarray([str(name) for name in names]), return_inverse=True)
    numeric = all(name.isdecimal() for name in found.tolist())
    order = sorted(found.tolist(), key=(lambda n: (int(n), n)) if numeric else None)
    called = order
    if labels is not None:
        strange = [name for name in order if name not in labels]
        counted = order == [str(i) for i in range(len(labels))]
        if strange and not counted:
            raise DataError(
                f"class {strange[0]!r} of the data is missing from "
                f"{option('data.labels', list(labels))}; "
                "name every class, or leave labels out"
            )
        order, called = (order, list(labels)) if strange else (list(labels), list(labels))
    place = {name: i for i, name in enumerate(order)}
    return np.array([place[str(n)] for n in found], np.int64)[number], tuple(called)


def check_finite(what: str, array: NDArray[Any], where: str) -> None:
    """Raise DataError if `array` contains NaN or infinity."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return
    bad = int(np.argwhere(~np.isfinite(array))[0][0])
    raise DataError(
        f"{where}: {what} contains NaN or infinity (first in sample {bad}); replace such values or "
        f"leave these samples out, {option('data.skip_broken', True)}"
    )


def _of_names(
    names: list[str], wanted: Target | None, labels: Sequence[str] | None, where: str
) -> Named:
    if wanted == "labels":
        found, called = read_cells(names, lambda flat: name_classes(flat, labels))
        return "labels", found, called or tuple(labels or ())
    if wanted == "value" or (labels is None and is_measured(names)):
        numbers = read_numbers(names, where)
        check_finite("the target column", numbers, where)
        return "value", numbers, tuple(labels or ())
    return "label", *name_classes(names, labels)


def _names_things(array: NDArray[Any]) -> bool:
    """Tell whether these are names or whole numbers, of whatever type."""
    if array.dtype.kind == "f":
        return bool(np.isfinite(array).all() and (array % 1 == 0).all())
    return array.dtype.kind in "OUTbui"


def name_identities(array: NDArray[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return any numbers or names as numbers from 0, and what these are called."""
    whole = array.astype(np.int64) if array.dtype.kind == "f" else array
    called, number = np.unique(whole.astype(str), return_inverse=True)
    return number.astype(np.int64), tuple(called.tolist())


def describe_scale(values: NDArray[Any]) -> str:
    """Return that numbers to predict are far from -1 to 1, for who trains a network; else ""."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    low, high = rows.min(axis=0), rows.max(axis=0)
    worst = int(np.argmax(np.maximum(np.abs(low), np.abs(high))))
    if max(abs(low[worst]), abs(high[worst])) <= MOST_SCALE:
        return ""
    return (
        f"the numbers to predict run from {low[worst]:g} to {high[worst]:g}: a network that starts "
        "from nothing may need very many epochs to reach them. Bring them to about -1 to 1 "
        "(subtract the mean, divide by the deviation), and turn the outputs back in the app"
    )

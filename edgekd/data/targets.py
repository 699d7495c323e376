"""Read targets: one class, 0 or 1 for each label, or numbers.

The task decides (`wanted`). Where it leaves that open, the form of the array does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.tasks.task import Target
from edgekd.wording import option

MOST_LEVELS = 20
"""A column with more unlike numbers than this, of which one is not whole, is measured."""
_SEPARATORS = "|;,"
Named = tuple[Target, NDArray[Any], tuple[str, ...]]
"""Name of the target, its array, and the names of classes or labels (where there are any)."""


def read_target(
    array: NDArray[Any], *, wanted: Target | None, labels: Sequence[str] | None, where: str
) -> Named:
    """Return what an array [n] or [n, several] of numbers or names is.

    Names become the numbers of classes. With `wanted` = "labels", a name is several that are
    separated by "|", ";" or ",".

    Raises:
        DataError: it can be none of them, or not what is wanted.
    """
    if array.ndim == 2 and array.shape[1] == 1 and wanted != "labels":
        array = array[:, 0]
    if array.dtype.kind in "OUT" and array.ndim == 1:
        return _of_names([str(name) for name in array], wanted, labels, where)
    if array.dtype.kind not in "buif":
        raise DataError(
            f"{where}: the targets are {array.dtype} {list(array.shape)}; numbers, or names [n], "
            "were expected"
        )
    check_finite("the target array", array, where)
    several = array.ndim == 2 and array.shape[1] > 1
    is_binary = array.ndim == 2 and bool(np.isin(array, (0, 1)).all())
    if wanted == "mask":
        return "mask", read_masks(array, where), tuple(labels or ())
    if wanted == "labels" and is_binary:
        return "labels", array.astype(np.uint8), tuple(labels or ())
    if wanted == "value":
        return "value", array.astype(np.float32), ()
    if several and is_binary and (array.dtype.kind != "f" or wanted == "label"):
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
        DataError: it is not [n, height, width] or [n, height, width, 1] of numbers from 0 to 255.
    """
    if array.ndim == 4 and 1 in (array.shape[1], array.shape[3]):
        array = array[..., 0] if array.shape[3] == 1 else array[:, 0]
    if array.ndim != 3 or array.dtype.kind not in "bui":
        raise DataError(
            f"{where}: masks are class numbers, whole, [n, height, width]; got {array.dtype} "
            f"{list(array.shape)}"
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
        "leave these samples out"
    )


def _of_names(
    names: list[str], wanted: Target | None, labels: Sequence[str] | None, where: str
) -> Named:
    if wanted == "labels":
        return "labels", *_several(names, labels)
    if wanted == "value":
        return "value", _numbers(names, where), ()
    if labels is None and _is_measured(names):
        return "value", _numbers(names, where), ()
    return "label", *name_classes(names, labels)


def _several(
    names: Sequence[str], labels: Sequence[str] | None
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return 0 or 1 for each label [n, labels], from names such as "cat|dog"."""
    separator = next((s for s in _SEPARATORS if any(s in name for name in names)), "|")
    rows = [[part.strip() for part in name.split(separator) if part.strip()] for name in names]
    flat, called = name_classes([part for row in rows for part in row], labels)
    found = np.zeros((len(rows), len(called)), np.uint8)
    found[np.repeat(np.arange(len(rows)), [len(row) for row in rows]), flat] = 1
    return found, called


def _numbers(names: Sequence[str], where: str) -> NDArray[np.float32]:
    try:
        found = np.array([parse_number(name) for name in names], np.float32)
    except ValueError as error:
        raise DataError(
            f"{where}: a target is not a number ({error}); regression needs one for each sample"
        ) from error
    check_finite("the target column", found, where)
    return found


def parse_number(text: str) -> float:
    """Return a number that may have a comma for the decimal point, as in German tables."""
    german = re.fullmatch(r"\s*[-+]?\d+,\d+\s*", text)
    return float(text.replace(",", ".") if german else text)


def _is_measured(names: Sequence[str]) -> bool:
    """Tell whether these are measured numbers: too many unlike ones to be classes."""
    unlike = set(names)
    if len(unlike) <= MOST_LEVELS:
        return False
    try:
        return any(not parse_number(name).is_integer() for name in unlike)
    except (ValueError, OverflowError):
        return False

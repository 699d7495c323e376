"""Data as Python has it: arrays, tensors, frames, a torch Dataset or DataLoader, samples."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.arrays import TARGET_NAMES, Part, split_name
from edgekd.data.pictures import Form, fit, to_channels
from edgekd.data.samples import (
    Pictures,
    as_array,
    describe,
    read_samples,
    same_random_numbers,
    stack,
)
from edgekd.errors import DataError

EXPECTED = (
    "(inputs, targets), or inputs alone: arrays, tensors, lists of texts, a frame, a torch Dataset "
    "or DataLoader, or anything that yields samples (input, target); or one of these for each of "
    "'train', 'validation', 'test' in a table"
)


class Collected(dict[str | None, Part]):
    """(inputs, targets) by split; the key None is data that is not split."""

    labels: tuple[str, ...] = ()
    """Names of the classes, where a Dataset states them (`classes`, as torchvision's do)."""
    columns: tuple[str, ...] = ()
    """Of inputs that are a frame of numbers; else empty."""
    targets: tuple[str, ...] = ()
    """Columns or name of targets that are a frame or a series; else empty."""


def collect(value: object, *, where: str) -> Collected:
    """Return the arrays of `value` by split.

    Args:
        value: see `EXPECTED`.
        where: named in errors.

    Raises:
        DataError: it is nothing that contains samples, or samples differ in form.
    """
    if isinstance(value, Collected):
        return value
    if isinstance(value, Mapping) and any(split_name(str(name)) == "train" for name in value):
        names = {str(name): split_name(str(name)) for name in value}
        strange = sorted(name for name, split in names.items() if split is None)
        if strange:
            raise DataError(
                f"{where} has {strange[0]!r} beside 'train'; the splits are train, validation, test"
            )
        found = Collected(
            {names[str(name)]: _part(part, f"{where}[{name!r}]") for name, part in value.items()}
        )
        _name_columns(found, list(value.values()), where)
        return found
    splits = isinstance(value, Mapping) and [n for n in value if split_name(str(n))]
    if splits:
        raise DataError(f"{where} has the split {splits[0]!r} but not 'train'; give that too")
    found = Collected({None: _part(value, where)})
    _name_columns(found, [value], where)
    targets = found[None][1]
    if getattr(getattr(targets, "dtype", None), "kind", "") in "iu" and targets is not None:
        found.labels = _class_names(value)
    return found


def _name_columns(found: Collected, parts: list[Any], where: str) -> None:
    """Keep the names of a frame's columns.

    Raises:
        DataError: they differ between the splits: a network would get one for another.
    """
    named = [_columns_of(part) for part in parts]
    strange = next((names for names, _ in named if names != named[0][0]), None)
    if strange is not None:
        raise DataError(
            f"the splits of {where} have the columns {', '.join(named[0][0]) or 'without names'} "
            f"and {', '.join(strange) or 'without names'}; give all the same, in the same order"
        )
    found.columns, found.targets = named[0]


def _columns_of(part: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of the inputs and of the targets, () where these are no frame."""
    if _is_frame(part):
        names = list(part.columns)
        targets = [name for name in names if str(name).lower() in TARGET_NAMES][:1]
        inputs = [name for name in names if name not in targets]
        return tuple(map(str, inputs)), tuple(map(str, targets))
    if not isinstance(part, (tuple, list)) or len(part) != 2 or not _is_frame(part[0]):
        return (), ()
    one = getattr(part[1], "name", None)
    targets = list(part[1].columns) if _is_frame(part[1]) else [] if one is None else [one]
    return tuple(map(str, part[0].columns)), tuple(map(str, targets))


def _class_names(value: object) -> tuple[str, ...]:
    inner = getattr(value, "dataset", value)
    names = getattr(inner, "classes", None)
    is_list = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    return tuple(names) if is_list and names and len(set(names)) == len(names) else ()


def resize_pictures(
    collected: Collected, size: tuple[int, int] | None, form: Callable[[int, int, int], Form]
) -> tuple[Collected, Form | None]:
    """Return it with pictures that differ in size as one array each, and the form they got.

    Raises:
        NoSize: there are such and `size`, (height, width), is None.
    """
    pictures = [image for x, _ in collected.values() if isinstance(x, Pictures) for image in x]
    if not pictures:
        return collected, None
    if size is None:
        raise NoSize
    channels = max(image.shape[2] for image in pictures)
    wanted = form(*size, channels)

    def array(x: object) -> object:
        if not isinstance(x, Pictures):
            return x
        return np.stack([to_channels(fit(image, wanted), channels) for image in x])

    found = Collected({name: (array(x), y) for name, (x, y) in collected.items()})
    found.labels = collected.labels
    return found, wanted


def hash_collected(collected: Collected) -> str:
    """Return a hash of all arrays."""
    found = hashlib.sha256(repr((collected.columns, collected.targets)).encode())
    for name, (inputs, targets) in sorted(collected.items(), key=lambda item: str(item[0])):
        for role, value in (("inputs", inputs), ("targets", targets)):
            for key, array in _arrays(value):
                found.update(f"{name} {role} {key} {array.dtype} {array.shape} ".encode())
                found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _arrays(value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(value, (Mapping, Pictures)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in items:
            yield from ((f"{key}.{below}", array) for below, array in _arrays(part))
    elif value is not None:
        yield "", value


class NoSize(Exception):  # a signal
    """Pictures differ in size, and no size was given."""


def _part(value: object, where: str) -> Part:
    if _is_frame(value):
        return _frame(value, where)
    is_list = isinstance(value, list) and _is_sample_list(value)
    if (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and _is_column(value[0])
        and not is_list
    ):
        if value[1] is None:
            return _column(value[0], where), None
        if _is_column(value[1]):
            return _column(value[0], where), _column(value[1], f"the targets of {where}")
    if isinstance(value, tuple) and not _is_sample_list(value):
        kinds = ", ".join(type(part).__name__ for part in value)
        raise DataError(f"{where} is ({kinds}), {len(value)} things; expected is {EXPECTED}")
    if isinstance(value, Mapping):
        targets = [name for name in value if str(name).lower() in TARGET_NAMES]
        inputs = {str(n): _column(v, f"{where}[{n!r}]") for n, v in value.items()}
        target = inputs.pop(str(targets[0])) if len(targets) == 1 and len(value) > 1 else None
        return inputs, target
    if _is_column(value) and not _is_sample_list(value):
        return _column(value, where), None
    if isinstance(value, (str, bytes)) or not (
        hasattr(value, "__iter__") or hasattr(value, "__getitem__")
    ):
        raise DataError(f"{where} is {describe(value)}; expected is {EXPECTED}")
    with same_random_numbers():
        return read_samples(value, where)


def _is_frame(value: object) -> bool:
    return hasattr(value, "columns") and hasattr(value, "to_numpy")


def _is_column(value: object) -> bool:
    """Whether it has one entry a sample: an array, a tensor, a series, a frame, a list."""
    return hasattr(value, "__array__") or _is_frame(value) or isinstance(value, (list, Mapping))


def _is_sample_list(value: object) -> bool:
    """Whether it is a list of samples: (input, target) or {name: input}."""
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_sample, value))


def _is_sample(value: object) -> bool:
    if isinstance(value, tuple):  # not a row of numbers
        return not all(isinstance(part, (int, float)) for part in value)
    return isinstance(value, Mapping)


def _column(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _column(part, f"{where}[{name!r}]") for name, part in value.items()}
    if _is_frame(value):
        return _frame_values(value, list(value.columns), where)
    if isinstance(value, list):
        return stack(value, where) if value else np.empty(0, np.float32)
    array = as_array(value, where)
    if array.ndim == 0:
        raise DataError(f"{where} is one value ({array}); its first axis must count the samples")
    return array


def _frame(value: Any, where: str) -> Part:
    """Return a frame's columns: `text`, or all numbers; `label` (or y, target) is the target."""
    names = list(value.columns)
    targets = [name for name in names if str(name).lower() in TARGET_NAMES]
    target = None if not targets else as_array(value[targets[0]], f"{where}[{targets[0]!r}]")
    if "text" in names:
        return as_array(value["text"], f"{where}['text']"), target
    return _frame_values(value, [name for name in names if name not in targets[:1]], where), target


def _frame_values(value: Any, names: list[Any], where: str) -> NDArray[Any]:
    columns = [as_array(value[name], f"{where}[{name!r}]") for name in names]
    texts = [name for name, column in zip(names, columns, strict=True) if column.dtype.kind in "US"]
    if texts and len(names) > 1:
        raise DataError(
            f"{where} has texts in the column {texts[0]!r} and is read as numbers; leave it out, "
            "or turn it into numbers; a column of texts to classify is named 'text'"
        )
    if texts:
        return columns[0]
    return np.stack(columns, axis=1).astype(np.float32)

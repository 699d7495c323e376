"""Data sets from arrays: from a function, an .npz or an .npy file."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.array_rows import are_pairs, find_broken, renumber, take_apart, without_rows
from edgekd.data.dataset import Dataset, Kind
from edgekd.data.input_forms import InputForm, is_given_as_it_is
from edgekd.data.targets import check_finite, read_target
from edgekd.errors import DataError
from edgekd.tasks.task import Target

MAX_BYTES = 16 << 30
"""The largest size after unpacking: a small file can claim any size."""
TARGET_NAMES = ("y", "label", "labels", "target", "targets")
_TARGET_NAMES_OF: Mapping[Target, tuple[str, ...]] = {
    "mask": ("mask", "masks"),
    "value": ("value", "values"),
    "identity": ("id", "ids", "identity"),
}
"""Further names, which are inputs in other tasks."""
_SPLIT_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
_SIDE = "|".join(_SPLIT_NAMES)
_KEY = re.compile(rf"(?:(?P<front>{_SIDE})_(?P<rest>.+)|(?P<stem>.+)_(?P<back>{_SIDE}))")
Part = tuple[Any, Any]
"""(inputs, targets) of one split: an array each, or a mapping of arrays. Targets may be None."""


def split_name(name: str) -> str | None:
    """Return the split that a folder or suffix of this name means: "val" is "validation"."""
    return _SPLIT_NAMES.get(name.lower())


def dataset_from_parts(
    parts: Mapping[str | None, Part],
    *,
    labels: Sequence[str] | None = None,
    wanted: Target | None = None,
    inputs: Sequence[InputForm] = (),
    skip_broken: bool = False,
    where: str,
) -> Dataset:
    """Join the splits into one Dataset with `fixed` indices; the key None is data not split yet.

    One uint8 array [n, height, width] or [n, height, width, 1 or 3] is images, texts are text, the
    rest arrays (float64 becomes float32). Targets are what the task wants (`wanted`), or what
    `read_target` sees in them: whole numbers [n] or names are "label", 0 and 1 [n, several]
    "labels", other numbers "value"; a mapping of targets keeps its names. Targets that are None
    are left out. For identities two inputs of one form are pairs: both of a row belong together,
    or those whose target is 1. `skip_broken` leaves out rows with NaN or infinity. `inputs` are
    those of the file that gets the samples: bytes of such a form are no images.

    Raises:
        DataError: types or shapes that cannot be used; the message names `where`.
    """
    parted = {name: _inputs(part[0], where) for name, part in parts.items()}
    targets = {name: _named(part[1], "label") for name, part in parts.items()}
    lengths = {name: len(next(iter(group.values()))) for name, group in parted.items()}
    names: tuple[str, ...] = tuple(labels or ())
    given, joined, fixed = _join(parted, where), _join(targets, where), _fixed(lengths)
    skipped = find_broken(given, joined) if skip_broken else np.zeros(0, np.int64)
    if len(skipped):
        given, joined = without_rows(given, skipped), without_rows(joined, skipped)
        fixed = renumber(fixed, skipped)
    if wanted == "identity" and are_pairs(given, joined.get("label")):
        given, joined["label"], fixed = take_apart(given, joined.get("label"), fixed)
    if "label" in joined:
        array = joined.pop("label")
        name, array, names = read_target(array, wanted=wanted, labels=labels, where=where)
        joined[name] = array
    kind, samples = _samples(given, inputs, where)
    rows = tuple(f"sample {row}" for row in skipped.tolist())
    return Dataset(kind, samples, joined, names, fixed=fixed, skipped=rows)


def open_npz(
    path: Path,
    *,
    labels: Sequence[str] | None,
    wanted: Target | None = None,
    inputs: Sequence[InputForm] = (),
    skip_broken: bool = False,
) -> Dataset:
    """Read an .npz: inputs, beside `y` or `label` if there are labels; or `x_train`, `x_test`, ...

    Raises:
        DataError: it contains pickled objects, no inputs, or unfolds to more than 16 GiB.
    """
    arrays = _load_npz(path)
    parts: dict[str | None, tuple[dict[str, Any], dict[str, Any]]] = {}
    names = (*TARGET_NAMES, *(_TARGET_NAMES_OF.get(wanted, ()) if wanted else ()))
    is_split = any(split == "train" or name in arrays for split, name in _named_splits(arrays))
    for key, array in arrays.items():
        split, name = _split_key(key) if is_split else (None, key)
        is_target = name.lower() in names
        parts.setdefault(split, ({}, {}))[int(is_target)][name] = array
    _check_parts(path, parts, sorted(arrays))
    return dataset_from_parts(
        {split: (x, next(iter(y.values()), None)) for split, (x, y) in parts.items()},
        labels=labels,
        wanted=wanted,
        inputs=inputs,
        skip_broken=skip_broken,
        where=str(path),
    )


def open_npy(path: Path, *, inputs: Sequence[InputForm] = ()) -> Dataset:
    """Read an .npy: one array of inputs, without labels.

    Raises:
        DataError: it contains pickled objects, or is damaged.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{path} is not a readable .npy file of plain numbers or texts ({error}); write it "
            "with np.save(path, array)"
        ) from error
    if array.ndim == 0:
        raise DataError(f"{path} contains one number; its first axis must count the samples")
    parts: Mapping[str | None, Part] = {None: ({"x": np.asarray(array)}, None)}
    return dataset_from_parts(parts, inputs=inputs, where=str(path))


def _load_npz(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
        if total > MAX_BYTES:
            raise DataError(f"{path} unpacks to {total} bytes; at most {MAX_BYTES} are read")
        with np.load(path, allow_pickle=False) as file:
            return {str(name): file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if "pickle" in str(error).lower():
            raise DataError(
                f"{path} contains Python objects (pickled), which can run any code and are never "
                "loaded; save plain arrays: np.savez(path, x=np.stack(images), "
                "y=np.array(labels, dtype=np.int64)), texts as np.array(texts, dtype=str)"
            ) from error
        raise DataError(f"{path} is not a readable .npz file ({error}); write it again") from error


def _check_parts(path: Path, parts: Mapping[str | None, tuple[Any, Any]], keys: list[str]) -> None:
    counts = {len(targets) for _, targets in parts.values()}
    whole = all(inputs for inputs, _ in parts.values()) and counts in ({0}, {1})
    if not parts or not whole or (None in parts and len(parts) > 1):
        raise DataError(
            f"{path} contains the arrays {keys}; inputs (such as x) are expected, and "
            f"where there are labels one of {', '.join(TARGET_NAMES)}; or the same for each split "
            "(x_train, y_train, x_test, y_test)"
        )


def _named_splits(keys: Iterable[str]) -> list[tuple[str, str]]:
    """Return split and name of the keys that have both: an input may well be called "left_test"."""
    return [(split, name) for split, name in map(_split_key, keys) if split is not None]


def _split_key(key: str) -> tuple[str | None, str]:
    match = _KEY.fullmatch(key.lower())
    if not match:
        return None, key
    return split_name(match["front"] or match["back"]), str(match["rest"] or match["stem"])


def _named(value: Any, name: str) -> dict[str, NDArray[Any]]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {str(key): np.asarray(array) for key, array in value.items()}
    return {name: value if isinstance(value, np.ndarray) else np.asarray(value)}


def _inputs(value: Any, where: str) -> dict[str, NDArray[Any]]:
    if value is None or (isinstance(value, Mapping) and not value):
        raise DataError(f"{where} gives no inputs; give at least one array")
    return _named(value, "x")


def _join(
    groups: Mapping[str | None, Mapping[str, NDArray[Any]]], where: str
) -> dict[str, NDArray[Any]]:
    first = next(iter(groups.values()))
    for split, group in groups.items():
        shapes = {name: array.shape[1:] for name, array in group.items()}
        if shapes != {name: array.shape[1:] for name, array in first.items()}:
            raise DataError(
                f"{where}: split {split!r} has arrays {shapes} (name: shape of one sample), "
                "which differ from those of another split; give all splits the same"
            )
    if len(groups) == 1:
        return dict(first)
    return {name: np.concatenate([group[name] for group in groups.values()]) for name in first}


def _fixed(lengths: Mapping[str | None, int]) -> dict[str, NDArray[np.int64]]:
    fixed, start = {}, 0
    for name, length in lengths.items():
        if name is not None:
            fixed[name] = np.arange(start, start + length, dtype=np.int64)
        start += length
    return fixed


def _samples(
    inputs: dict[str, NDArray[Any]], forms: Sequence[InputForm], where: str
) -> tuple[Kind, dict[str, NDArray[Any]]]:
    if len(inputs) == 1:
        ((key, array),) = inputs.items()
        if array.dtype.kind in "OUT":
            return "text", {"text": array.astype(object)}
        is_form = array.dtype == np.uint8 and array.ndim in (3, 4)
        if is_form and not is_given_as_it_is(key, array, forms):
            return "image", {"image": _images(array, where)}
    for name, array in inputs.items():
        if array.dtype.kind not in "buif":
            raise DataError(
                f"{where}: input {name!r} has type {array.dtype}; numbers were expected. Every "
                "array but the target is an input of the network: give the data without this one"
            )
        check_finite(f"input {name!r}", array, where)
    return "array", {
        name: array.astype(np.float32) if array.dtype == np.float64 else array
        for name, array in inputs.items()
    }


def _images(array: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
    if array.ndim == 3:
        return array[..., None]
    if array.shape[3] not in (1, 3):
        raise DataError(
            f"{where}: uint8 {list(array.shape)} is read as images [n, height, width, "
            "channels] with 1 or 3 channels; put these last (x.transpose(0, 2, 3, 1)), drop alpha, "
            "or save other data as float32"
        )
    return array

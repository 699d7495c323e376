"""The stored splits of a run folder: made once, then read by every later command.

A file that does not fit the data is refused: a sample that was tested would be trained on, or the
stages of two different splits would be compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgekd.data.dataset import Dataset
from edgekd.data.splits import Indices, Splits, make_splits
from edgekd.errors import DataError
from edgekd.store import write_atomic
from edgekd.wording import option

FILE = "splits.json"
_DISJOINT = ("train", "validation", "test")
_NAMES = ("train", "calibration", "validation", "test")


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """The options that decide the splits of a data set, see `make_splits`."""

    validation: float | int
    test: float | int
    calibration: int | None
    seed: int

    def make(self, dataset: Dataset) -> Splits:
        """Return the splits of these options.

        Raises:
            DataError: they cannot be made of this data.
        """
        return make_splits(dataset, **asdict(self))


def write_splits(folder: Path, splits: Splits, options: SplitOptions, dataset: Dataset) -> None:
    """Write `splits.json` of a run folder, atomically, with what decided the splits."""
    content = {
        "dataset": dataset.fingerprint,
        "options": asdict(options),
        **splits.to_json(),
    }
    write_atomic(folder / FILE, json.dumps(content) + "\n")


def run_splits(folder: Path, options: SplitOptions, dataset: Dataset) -> tuple[Splits, str]:
    """Return the splits of a run folder, and what the user should know about them ("": nothing).

    The stored splits are used where they were made with equal options. With other options (the
    recipe was changed) new splits are made. Nothing is written.

    Raises:
        DataError: the stored splits are damaged, do not fit `dataset`, or belong to other data;
            or there are none and none can be made.
    """
    path = folder / FILE
    if not path.exists():
        return options.make(dataset), ""
    content = _read(path)
    _check_owner(path, content, dataset)
    if content["options"] == asdict(options):
        return _stored(path, content, dataset), ""
    splits = options.make(dataset)
    if splits.to_json() == {name: content.get(name) for name in _NAMES}:
        return splits, ""
    return splits, (
        f"the splits of this run are made again, because {_changes(content['options'], options)}; "
        "stages that were made from the old splits run again"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise _unusable(path, f"cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(content, dict) or not isinstance(content.get("options"), dict):
        raise _unusable(path, "cannot be read (a run did not write it)")
    return content


def _check_owner(path: Path, content: Mapping[str, Any], dataset: Dataset) -> None:
    owner = content.get("dataset")
    if owner != dataset.fingerprint:
        raise DataError(
            f"the run in {path.parent} was made from data {str(owner)[:12]}, and the data is now "
            f"{dataset.fingerprint[:12]}: samples, labels or their order changed, or options that "
            "say how they are read (their size, which labels, none). Put back what changed, or "
            f"give a new run folder with {option('out')}: stages of both cannot be compared"
        )


def _stored(path: Path, content: Mapping[str, Any], dataset: Dataset) -> Splits:
    """Return the splits in `content` after every check against the data."""
    found = {name: _indices(path, name, content.get(name), len(dataset)) for name in _NAMES}
    splits = Splits(**found)
    taken = np.zeros(len(dataset), np.int64)
    for name in _DISJOINT:
        taken[found[name]] += 1
    if (taken > 1).any():
        sample = int(taken.argmax())
        owners = " and in ".join(name for name in _DISJOINT if sample in found[name])
        raise _unusable(path, f"do not fit the data: sample {sample} is in {owners}")
    _check_complete(path, taken, found, dataset)
    outside = np.setdiff1d(splits.calibration, splits.train)
    if len(outside):
        raise _unusable(
            path, f"do not fit the data: calibration sample {outside[0]} is not in train"
        )
    return splits


def _indices(path: Path, name: str, value: object, samples: int) -> Indices:
    """Return one split as an array: distinct whole numbers from 0 to `samples` - 1, at least one.

    Raises:
        DataError: it is anything else.
    """
    if not isinstance(value, list) or not all(type(index) is int for index in value):
        raise _unusable(path, f"cannot be read ({name} is not a list of whole numbers)")
    if not value:
        raise _unusable(path, f"do not fit the data: {name} is empty")
    for index in (min(value), max(value)):
        if not 0 <= index < samples:
            raise _unusable(
                path,
                f"do not fit the data: {name} contains sample {index}, and the data has "
                f"{samples} samples (0 to {samples - 1})",
            )
    indices = np.array(value, np.int64)
    numbers, counts = np.unique(indices, return_counts=True)
    if (counts > 1).any():
        sample = int(numbers[counts > 1][0])
        raise _unusable(path, f"do not fit the data: sample {sample} is in {name} twice")
    return indices


def _check_complete(
    path: Path, taken: Indices, found: Mapping[str, Indices], dataset: Dataset
) -> None:
    """Every sample that may be used is in one split, and what the source fixes stays there."""
    fixed = dataset.fixed
    usable = np.ones(len(dataset), bool)
    if "train" in fixed:  # what such a source names nowhere is not used
        usable[:] = False
        for indices in fixed.values():
            usable[indices] = True
        usable[dataset.main_samples :] = True
    wrong = np.flatnonzero((taken > 0) != usable)
    if len(wrong):
        state = "is in no split" if usable[wrong[0]] else "is used, and the source leaves it out"
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise _unusable(path, f"do not fit the data: sample {wrong[0]}{more} {state}")
    for name in sorted({"validation", "test"} & set(fixed)):
        moved = np.setdiff1d(fixed[name], found[name])
        if len(moved):
            raise _unusable(
                path,
                f"do not fit the data: sample {moved[0]} is in the {name} split of the source, "
                "and not here",
            )


def _changes(old: Mapping[str, Any], options: SplitOptions) -> str:
    changed = [
        f"{name} is now {_shown(value)} (it was {_shown(old.get(name))})"
        for name, value in asdict(options).items()
        if old.get(name) != value
    ]
    return " and ".join(changed)


def _shown(value: object) -> str:
    return "the default" if value is None else str(value)


def _unusable(path: Path, reason: str) -> DataError:
    return DataError(
        f"the splits in {path} {reason}; remove the file, and the same command makes the splits "
        f"of the recipe, or give a new run folder with {option('out')}"
    )

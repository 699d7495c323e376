"""Mixed data: further sources add training samples; all other splits use the main source.

The sources are joined into one Dataset, the main one first. Its validation, test and calibration
splits are as without further sources (see `make_splits`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.data.dataset import Dataset, Share, array_sha256
from edgekd.data.pixel_cache import PixelWriter, decoded
from edgekd.errors import DataError
from edgekd.progress import Progress
from edgekd.store import digest

Indices = NDArray[np.int64]
_REVISION = 1  # raised when equal sources would give another joined file
_ROWS = 256  # images copied at once


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A further source of training samples."""

    name: str
    """As error messages call it."""
    dataset: Dataset
    weight: float | None
    """Samples per sample of the main source; None: each of its samples once per epoch."""


def mix_sources(main: Dataset, extras: Sequence[Extra], *, progress: Progress) -> Dataset:
    """Return one Dataset: `main`, then the training samples of each of `extras`.

    Where an extra source fixes splits, only its train split is used. Samples that `main` contains
    too are left out, because they could be in its test split.

    Raises:
        DataError: the sources do not fit together, or one has no sample of its own.
    """
    for extra in extras:
        _check_alike(main, extra)
    own = [_training_samples(extra.dataset) for extra in extras]
    if main.kind == "image":
        samples, sha256, kept = _joined_images(main, extras, own)
    else:
        kept = _unseen(main, extras, own)
        samples, sha256 = _joined_arrays(main, extras, kept), {}
    for extra, before, after in zip(extras, own, kept, strict=True):
        if len(after) < len(before):
            progress.say(
                f"{extra.name}: {len(before) - len(after)} of {len(before)} samples are left out, "
                "because they are also in the main source"
            )
        if not len(after):
            raise DataError(
                f"{extra.name} adds no training sample to the main source; leave it out of data.mix"
            )
    targets = {
        name: np.concatenate(
            [array, *(_targets(main, e, name)[k] for e, k in zip(extras, kept, strict=True))]
        )
        for name, array in main.targets.items()
    }
    licences = dict.fromkeys([main.licence, *(extra.dataset.licence for extra in extras)])
    return replace(
        main,
        samples=samples,
        targets=targets,
        licence=" and ".join(licences),
        skipped=(*main.skipped, *(name for extra in extras for name in extra.dataset.skipped)),
        known_sha256=sha256,
        shares=_shares(main, extras, kept),
    )


def _shares(main: Dataset, extras: Sequence[Extra], kept: Sequence[Indices]) -> tuple[Share, ...]:
    shares = [Share(main.fingerprint, 0, len(main), None)]
    for extra, indices in zip(extras, kept, strict=True):
        start = shares[-1].stop
        shares.append(Share(extra.dataset.fingerprint, start, start + len(indices), extra.weight))
    return tuple(shares)


def _check_alike(main: Dataset, extra: Extra) -> None:
    """Refuse a source whose samples or targets have another form than those of `main`."""
    other = extra.dataset
    if other.kind != main.kind:
        raise DataError(
            f"{extra.name} is of kind {other.kind!r} and the main source of kind {main.kind!r}; "
            "only sources of one kind can be mixed"
        )
    for name, columns in main.columns.items():
        if (named := other.columns.get(name, columns)) != columns:
            raise DataError(
                f"{extra.name} has the columns {', '.join(named)} and the main source "
                f"{', '.join(columns)}; mixed tables need the same columns in the same order"
            )
    for what, mine, theirs in (
        ("samples", _forms(main.samples), _forms(other.samples)),
        ("targets", _forms(main.targets), _forms(other.targets)),
    ):
        if mine != theirs:
            cure = "size and channels" if main.kind == "image" else "names, shapes and types"
            raise DataError(
                f"{extra.name} has the {what} {_shown(theirs)} and the main source "
                f"{_shown(mine)}; mixed sources need the same "
                f"{cure if what == 'samples' else 'targets'} (a sample's shape and type count)"
            )


def _forms(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """Return the form of one sample by name; texts may be stored in several types."""
    return {
        name: "text" if array.dtype.kind in "OU" else f"{array.dtype} {list(array.shape[1:])}"
        for name, array in sorted(arrays.items())
    }


def _shown(forms: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {form}" for name, form in forms.items()) or "none"


def _targets(main: Dataset, extra: Extra, name: str) -> NDArray[Any]:
    """Return a target array of `extra`; class numbers become those of the main source.

    Classes go by name. Where the extra source only numbers its classes, the numbers count.

    Raises:
        DataError: a class is not one of the main source.
    """
    array = extra.dataset.targets[name]
    if name != "label":
        return array
    names = extra.dataset.labels or tuple(str(i) for i in range(extra.dataset.classes))
    known = main.labels or tuple(str(i) for i in range(main.classes))
    counted = names == tuple(str(i) for i in range(len(names))) and len(names) <= len(known)
    if counted:
        return array
    strange = [label for label in names if label not in known]
    if strange:
        raise DataError(
            f"class {strange[0]!r} of {extra.name} is not a class of the main source "
            f"({', '.join(known[:8])}{', ...' if len(known) > 8 else ''}); use the same class names"
        )
    return np.array([known.index(label) for label in names], np.int64)[array]


def _training_samples(dataset: Dataset) -> Indices:
    if "train" in dataset.fixed:
        return np.sort(dataset.fixed["train"])
    held_out = np.concatenate([np.zeros(0, np.int64), *dataset.fixed.values()])
    return np.setdiff1d(np.arange(len(dataset), dtype=np.int64), held_out)


def _unseen(main: Dataset, extras: Sequence[Extra], own: Sequence[Indices]) -> list[Indices]:
    """Return those of `own` in each source that `main` does not contain, to the byte."""
    seen = {key for _, key in _keys(main, np.arange(len(main)))}
    return [
        np.array([i for i, key in _keys(e.dataset, indices) if key not in seen], np.int64)
        for e, indices in zip(extras, own, strict=True)
    ]


def _keys(dataset: Dataset, indices: Indices) -> Iterator[tuple[int, bytes]]:
    """Yield each index with a hash of its sample."""
    for i in indices.tolist():
        sha = hashlib.blake2b(digest_size=16)
        for _, array in sorted(dataset.samples.items()):
            row = array[i]
            sha.update(str(row).encode() if array.dtype.kind in "OU" else np.asarray(row).tobytes())
        yield i, sha.digest()


def _joined_arrays(
    main: Dataset, extras: Sequence[Extra], kept: Sequence[Indices]
) -> dict[str, NDArray[Any]]:
    return {
        name: np.concatenate(
            [array, *(e.dataset.samples[name][k] for e, k in zip(extras, kept, strict=True))]
        )
        for name, array in main.samples.items()
    }


def _joined_images(
    main: Dataset, extras: Sequence[Extra], own: Sequence[Indices]
) -> tuple[dict[str, NDArray[Any]], dict[str, str], list[Indices]]:
    """Return the images, their sha256 and the indices kept; the pixels are in the cache."""

    def build(writer: PixelWriter) -> dict[str, list[list[int]]]:
        kept = _unseen(main, extras, own)
        everything = np.arange(len(main))
        for dataset, indices in [
            (main, everything),
            *((e.dataset, k) for e, k in zip(extras, kept, strict=True)),
        ]:
            for start in range(0, len(indices), _ROWS):
                writer.add(dataset.samples["image"][indices[start : start + _ROWS]])
        return {"kept": [indices.tolist() for indices in kept]}

    key = digest(
        "mixture",
        _REVISION,
        [_pixels_sha256(dataset) for dataset in (main, *(e.dataset for e in extras))],
        [array_sha256(indices) for indices in own],
    )
    found = decoded(key, build)
    kept = [np.array(indices, np.int64) for indices in found.notes["kept"]]
    return {"image": found.pixels}, {"image": found.sha256}, kept


def _pixels_sha256(dataset: Dataset) -> str:
    return dataset.known_sha256.get("image") or array_sha256(dataset.samples["image"])

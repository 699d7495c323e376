"""What arrays are: type, shape, range, and as far as the recipe says it, axes and units.

An app gets them in `preprocess.json`: numbers in another unit or order of axes run without an error
and give wrong answers. The range in the training data shows a unit that nobody stated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from edgekd.errors import DataError
from edgekd.options import Options

_ROWS = 1000
"""Training samples that the range is taken from, spread over all."""


class ArrayOptions(Options):
    """What the arrays of the data mean; it changes no result and ships with the model."""

    axes: dict[str, tuple[str, ...]] = Field(
        default={},
        description="names of each array's axes after the samples', such as "
        "{ x = ['time', 'sensor'] }",
    )
    units: dict[str, str] = Field(
        default={}, description="unit of each array's values, such as { x = 'm/s2' }"
    )


@dataclass(frozen=True)
class Column:
    """A column of numbers of a table, as the training data has it."""

    name: str
    low: float | None
    high: float | None
    """Smallest and greatest finite value, as those of an array; None: there is none."""


@dataclass(frozen=True, kw_only=True)
class ArrayFacts:
    """One array of a sample, as the training data has it."""

    array: str
    dtype: str
    shape: tuple[int, ...]
    """Of one sample, without the axis of the samples."""
    low: float | None
    high: float | None
    """Smallest and greatest finite value of up to 1,000 training samples; None: there is none."""
    mean: float | None
    axes: tuple[str, ...] | None = None
    """Names of the axes of `shape`; None: not stated."""
    unit: str | None = None
    """None: not stated."""
    columns: tuple[Column, ...] = ()
    """Of an array that was read of a table, in the order of its values; else empty."""


def describe_arrays(
    samples: Mapping[str, NDArray[Any]],
    train: NDArray[np.int64],
    columns: Mapping[str, Sequence[str]] | None = None,
) -> tuple[ArrayFacts, ...]:
    """Return the facts of each array [n, ...]; the range is that of samples among `train`.

    `columns` names the columns of arrays [n, columns] of a table.
    """
    names = columns or {}
    spread = train[np.unique(np.linspace(0, len(train) - 1, _ROWS).astype(np.int64))]
    found = []
    for name, array in samples.items():
        values = np.asarray(array[spread], np.float64)
        finite = values[np.isfinite(values)]
        low, high = _span(values)
        mean = float(f"{finite.mean():.6g}") if finite.size else None
        found.append(
            ArrayFacts(
                array=name,
                dtype=array.dtype.name,
                shape=tuple(array.shape[1:]),
                low=low,
                high=high,
                mean=mean,
                columns=tuple(
                    Column(column, *_span(values[:, place]))
                    for place, column in enumerate(names.get(name, ()))
                ),
            )
        )
    return tuple(found)


def _span(values: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return the smallest and the greatest finite value, in six digits."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None, None
    return float(f"{finite.min():.6g}"), float(f"{finite.max():.6g}")


def state_meaning(facts: Sequence[ArrayFacts], meaning: ArrayOptions) -> tuple[ArrayFacts, ...]:
    """Return the facts with the axes and units that the recipe states."""
    return tuple(
        replace(one, axes=meaning.axes.get(one.array), unit=meaning.units.get(one.array))
        for one in facts
    )


def check_meaning(meaning: ArrayOptions, samples: Mapping[str, NDArray[Any]]) -> None:
    """Refuse axes and units that do not belong to the arrays.

    Raises:
        DataError: an array is not there, or has another number of axes.
    """
    for key, named in (("axes", meaning.axes), ("units", meaning.units)):
        strange = [name for name in named if name not in samples]
        if strange:
            raise DataError(
                f"{key} in [data] names the array {strange[0]!r}, and the data has "
                f"{', '.join(samples)}"
            )
    for name, axes in meaning.axes.items():
        shape = list(samples[name].shape[1:])
        if len(axes) != len(shape):
            raise DataError(
                f"axes in [data] names {len(axes)} axes of {name!r} ({', '.join(axes)}), and each "
                f"sample has the shape {shape}; name them all, without the axis of the samples"
            )

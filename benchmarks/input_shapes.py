"""Which axis counts samples, which length a free axis gets, and whether two files are fed alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from edgekd.benchmarks.feeds import Arrays, Input, default_length, describe
from edgekd.wording import flag

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_CHANNELS = 4  # a picture's; an axis as short as this may stand first or last


class Fed(Protocol):
    """A row: its name, and what one call of it takes."""

    @property
    def label(self) -> str:
        """Name of the row."""

    @property
    def batch(self) -> int:
        """Samples in one call."""

    @property
    def inputs(self) -> Mapping[str, str]:
        """Type and shape of each input, in words."""

    @property
    def sample_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each input without its batch axis."""


def samples_of(inputs: Sequence[Input], arrays: Arrays) -> int:
    """Return how many samples one call of these arrays (calls first) contains."""
    counts = (
        arrays[item.name].shape[1 + item.batch_axis]
        for item in inputs
        if item.batch_axis is not None and arrays[item.name].ndim > 1 + item.batch_axis
    )
    return next(counts, 1)


def sample_shapes(inputs: Sequence[Input], arrays: Arrays) -> dict[str, tuple[int, ...]]:
    """Return the shape of each input without its batch axis."""
    axes = {item.name: item.batch_axis for item in inputs}
    return {
        name: tuple(n for axis, n in enumerate(array.shape[1:]) if axis != axes.get(name, 0))
        for name, array in arrays.items()
    }


def difference(row: Fed, reference: Fed) -> str:
    """Say whose shape is whose where one call of each is not the same work to do; "" if it is.

    The same picture with its channels first or last is the same, and so is another place of the
    batch axis. Inputs are compared by name, or in their order where no name is the same.
    """
    if not (row.sample_shapes and reference.sample_shapes):
        return ""
    if row.batch == reference.batch and _same_shapes(row.sample_shapes, reference.sample_shapes):
        return ""
    mine, its = (", ".join(f"{n} {what}" for n, what in r.inputs.items()) for r in (row, reference))
    return (
        f"{row.label} is fed {mine} ({_samples(row.batch)} a call), "
        f"{reference.label} {its} ({_samples(reference.batch)})"
    )


def _samples(count: int) -> str:
    return f"{count} sample{'s' * (count > 1)}"


def _same_shapes(a: Mapping[str, tuple[int, ...]], b: Mapping[str, tuple[int, ...]]) -> bool:
    common = [name for name in a if name in b]
    if common:
        pairs = [(a[name], b[name]) for name in common]
    elif len(a) == len(b):
        pairs = list(zip(a.values(), b.values(), strict=True))
    else:
        return False
    return all(x == y or _moved_channels(x, y) or _moved_channels(y, x) for x, y in pairs)


def _moved_channels(first: tuple[int, ...], last: tuple[int, ...]) -> bool:
    return len(first) > 2 and first[0] <= _LARGEST_CHANNELS and (*first[1:], first[0]) == last


def filled(
    inputs: Mapping[Path, Sequence[Input]], given: Mapping[str, Sequence[int]], *, batch: bool
) -> dict[Path, list[Input]]:
    """Give free axes of a file the length that the first of the other files fixes for them.

    Two inputs correspond if they have the same name, or if each is the only one of its file, and
    if no length that both fix differs, samples aside.

    Args:
        inputs: of each file.
        given: shapes of inputs and lengths of symbols that the user asked for; they stay free.
        batch: also the batch axis; False where the user asked for a batch.
    """
    return {
        path: _filled(own, [o for p, o in inputs.items() if p != path], given, batch=batch)
        for path, own in inputs.items()
    }


def _filled(
    own: Sequence[Input],
    others: Sequence[Sequence[Input]],
    given: Mapping[str, Sequence[int]],
    *,
    batch: bool,
) -> list[Input]:
    known: dict[str, int] = {}
    shapes = []
    for item in own:
        shape = list(item.shape)
        for other in _counterparts(item, own, others) if item.name not in given else ():
            for axis, (mine, its) in enumerate(zip(shape, other.shape, strict=True)):
                if isinstance(mine, int) or isinstance(its, str) or mine in given:
                    continue
                if batch or axis != item.batch_axis:
                    shape[axis] = known.setdefault(mine, its) if mine else its
        shapes.append(shape)
    return [
        replace(item, shape=tuple(known.get(a, a) if isinstance(a, str) else a for a in shape))
        if item.name not in given
        else item
        for item, shape in zip(own, shapes, strict=True)
    ]


def _counterparts(
    item: Input, own: Sequence[Input], others: Sequence[Sequence[Input]]
) -> Iterator[Input]:
    for inputs in others:
        named = [other for other in inputs if other.name == item.name]
        for other in named or (inputs if len(own) == len(inputs) == 1 else ()):
            if _correspond(item, other):
                yield other


def _correspond(item: Input, other: Input) -> bool:
    if len(item.shape) != len(other.shape) or item.batch_axis != other.batch_axis:
        return False
    return all(
        axis == item.batch_axis or isinstance(a, str) or isinstance(b, str) or a == b
        for axis, (a, b) in enumerate(zip(item.shape, other.shape, strict=True))
    )


def taken(file: str, before: Sequence[Input], after: Sequence[Input]) -> Iterator[str]:
    """Say which shapes a file got from the others; a free batch of 1 is not worth a word."""
    for own, got in zip(before, after, strict=True):
        changed = [
            axis
            for axis, (a, b) in enumerate(zip(own.shape, got.shape, strict=True))
            if a != b and (axis != own.batch_axis or b != 1)
        ]
        if changed:
            yield (
                f"{got.name} of {file} is {describe(own.shape)} and got the lengths that another "
                f"file fixes, {describe(got.shape)}; give {flag('shape')} or {flag('batch')} "
                "for others"
            )


def assumed(
    file: str, inputs: Sequence[Input], given: Mapping[str, Sequence[int]]
) -> Iterator[str]:
    """Say which lengths of free axes are only assumed, each once."""
    seen = set()
    for item in inputs:
        for axis, length in enumerate(item.shape):
            fixed = isinstance(length, int) or item.name in given or length in given
            if fixed or axis == item.batch_axis or (length and length in seen):
                continue
            seen.add(length)
            named = f"{length}" if length else f"axis {axis} of {item.name}"
            wanted = f"{length}=N" if length else f"{item.name}={describe(_example(item))}"
            yield (
                f"{named} of {file} is a free axis and was set to {default_length(str(length))}; "
                f"give the length that you need: {flag('shape', wanted)}"
            )


def _example(item: Input) -> list[int]:
    return [
        a if isinstance(a, int) else 1 if axis == item.batch_axis else default_length(a)
        for axis, a in enumerate(item.shape)
    ]

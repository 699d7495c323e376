"""The lengths that TensorRT needs of free axes: the least, the usual and the largest one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgekd.benchmarks.feeds import Input, default_length
from edgekd.errors import RecipeError

Range = tuple[int, int, int]
"""Least, usual and largest length of an axis."""
BATCH: Range = (1, 1, 8)
"""One call at a time is what a board does; up to 8 lets a test of an app run in batches."""


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """The shapes of one input for which an engine is built."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    """The engine is tuned for this one."""
    most: tuple[int, ...]


def free_shapes(
    inputs: Sequence[Input],
    *,
    batch: Range = BATCH,
    lengths: Mapping[str, Range] | None = None,
) -> dict[str, Shapes]:
    """Return the shapes of those inputs that have a free axis, by name.

    Args:
        inputs: of the file.
        batch: of a free axis that counts samples.
        lengths: of other free axes, by their symbol. An axis that is not named here gets one
            length alone: a usual one, since a network may take no other.

    Raises:
        RecipeError: a range is not in order, or begins below 1.
    """
    given = dict(lengths or {})
    for name, (least, usual, most) in {"batch": batch, **given}.items():
        if not 1 <= least <= usual <= most:
            raise RecipeError(
                f"the lengths {least}, {usual}, {most} of the axis {name!r} are not in order; "
                "give the least, the usual and the largest one, at least 1"
            )
    found = {}
    for item in inputs:
        if all(isinstance(axis, int) for axis in item.shape):
            continue
        ranges = [_range(item, number, batch, given) for number in range(len(item.shape))]
        found[item.name] = Shapes(
            least=tuple(least for least, _, _ in ranges),
            usual=tuple(usual for _, usual, _ in ranges),
            most=tuple(most for _, _, most in ranges),
        )
    return found


def _range(item: Input, number: int, batch: Range, given: Mapping[str, Range]) -> Range:
    axis = item.shape[number]
    if isinstance(axis, int):
        return (axis, axis, axis)
    if axis in given:
        return given[axis]
    if number == item.batch_axis or "batch" in axis.lower():
        return batch
    length = default_length(axis)
    return (length, length, length)

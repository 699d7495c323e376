"""Cut batches of calibration samples into calls of a graph, one sample at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto

from edgekd.data.dataset import Arrays
from edgekd.errors import ModelError
from edgekd.exporters.model_stats import inputs_of
from edgekd.exporters.shapes import batch_symbol


@dataclass(frozen=True)
class Call:
    """The inputs of one call of a graph."""

    arrays: dict[str, NDArray[Any]]
    samples: int
    """That it contains; the last one is repeated where the graph takes more."""
    split: frozenset[str]
    """Inputs whose first axis counts samples."""
    size: int
    """The fixed length of that axis, or 0."""

    @cached_property
    def digests(self) -> tuple[bytes, ...]:
        """A hash of each sample: its inputs, with names, types and shapes."""
        return tuple(self._digest(i) for i in range(self.samples))

    def _digest(self, place: int) -> bytes:
        found = hashlib.blake2b(digest_size=16)
        for name, array in sorted(self.arrays.items()):
            own = array[place : place + 1] if name in self.split else array
            found.update(f"{name} {own.dtype.str} {own.shape}".encode())
            texts = own.dtype.kind == "O"
            found.update(repr(own.tolist()).encode() if texts else own.tobytes())
        return found.digest()

    def by_sample(self, array: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """Return the values of each sample in what a graph gives, without the repeated ones.

        Where the first axis is not the batch (windows, frames) they come as those of one sample.
        """
        if not array.size:
            return ()
        if self.samples > 1 and array.ndim and len(array) == self.size:
            return list(array[: self.samples])
        return (array,)


def cut_calls(model: ModelProto, batch: Arrays, *, mask: str = "") -> Iterator[Call]:
    """Cut a batch into calls, without its padding.

    One sample a call where the graph leaves its first axis free, else as many as it fixes. A graph
    whose first axis is neither gets the batch whole.

    Args:
        model: the graph.
        batch: by input name, [batch, ...]; more than the graph takes is left out.
        mask: input [batch, length] that is 0 where a sample is padded at its end and else 1.
            Padding is cut off if the graph names that axis, in all inputs with an axis of that
            name.

    Raises:
        ModelError: an input is missing.
    """
    inputs, symbol = inputs_of(model), batch_symbol(model)
    missing = [value.name for value in inputs if value.name not in batch]
    if missing:
        raise ModelError(
            f"the model needs the inputs {[v.name for v in inputs]} and the calibration samples "
            f"lack {missing}; they give {sorted(batch)}"
        )
    fed = {value.name: np.asarray(batch[value.name]) for value in inputs}
    fixed = _fixed_batch(inputs, fed)
    size = fixed or 1
    split = frozenset(
        value.name
        for value in inputs
        if fed[value.name].ndim
        and (_is_batch(value, symbol) or (fixed and _first_axis(value) == fixed))
    )
    lengths = {len(fed[name]) for name in split}
    if len(lengths) != 1:
        yield Call(fed, 1, frozenset(), fixed)
        return
    count = lengths.pop()
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        cut = {name: a[rows] if name in split else a for name, a in fed.items()}
        cut = _without_padding(inputs, cut, mask)
        yield Call(cut, min(size, count - start), split, fixed)


def _without_padding(
    inputs: Sequence[ValueInfoProto], cut: dict[str, NDArray[Any]], mask: str
) -> dict[str, NDArray[Any]]:
    found = next((value for value in inputs if value.name == mask), None)
    if found is None or cut[mask].ndim != 2 or not np.isin(cut[mask], (0, 1)).all():
        return cut  # a mask that is added to scores is 0 where there is no padding
    dims = found.type.tensor_type.shape.dim
    axis = str(dims[1].dim_param) if len(dims) == 2 else ""
    used = np.flatnonzero(cut[mask].any(axis=0))
    length = int(used[-1]) + 1 if used.size else 0
    if not axis or not length:
        return cut
    whole = cut[mask].shape[1]
    for value in inputs:
        array = cut[value.name]
        for i, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param == axis and i < array.ndim and array.shape[i] == whole:
                array = np.take(array, range(length), axis=i)
        cut[value.name] = array
    return cut


def _fixed_batch(inputs: Sequence[ValueInfoProto], fed: Arrays) -> int:
    """Return the fixed first axis of the first input, or 0 where it is free or not the samples."""
    first = next((value for value in inputs if fed[value.name].ndim), None)
    return _first_axis(first) if first is not None else 0


def _first_axis(value: ValueInfoProto) -> int:
    dims = value.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if dims else 0


def _is_batch(value: ValueInfoProto, symbol: str) -> bool:
    dims = value.type.tensor_type.shape.dim
    return bool(dims) and not dims[0].HasField("dim_value") and dims[0].dim_param == symbol

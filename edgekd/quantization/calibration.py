"""Calibration: the range of each activation over the calibration samples, streamed.

Samples run one at a time, whatever the batch they come in: a kernel may round differently in
another batch, and then two runs on the same samples would write different files. One sample's
activations are all that is held at once. A file with a fixed first axis gets as many samples as it
takes at once; the last one is repeated where some are missing, which moves no range.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto

from edgekd.errors import DataError, ModelError
from edgekd.exporters.model_stats import inputs_of
from edgekd.exporters.ort_session import open_session, run
from edgekd.exporters.shapes import batch_symbol
from edgekd.quantization.headroom import Extremes, Range


def collect_ranges(
    model: ModelProto, tensors: Sequence[str], feeds: Iterator[Mapping[str, NDArray[Any]]]
) -> tuple[dict[str, Range], int]:
    """Return the range of each tensor over all samples, and their number.

    It reaches from the least to the greatest value, and beyond them where other samples would.

    Args:
        model: with the tensors; it is not changed.
        tensors: names of float tensors of the graph.
        feeds: batches by input name, [batch, ...]. Padding counts as data: give text one sample
            at a time, or in equal lengths.

    Raises:
        DataError: there is no sample.
        ModelError: an input is missing, does not fit, or is NaN or infinite.
    """
    session = open_session(_watching(model, tensors))
    inputs = inputs_of(model)
    extremes: dict[str, Extremes] = {}
    count = 0
    for batch in feeds:
        for sample, samples in cut_calls(inputs, batch, batch_symbol(model)):
            _check_finite(sample, count)
            arrays = run(session, list(tensors), sample, name="the model to calibrate")
            for name, array in zip(tensors, arrays, strict=True):
                for values in _by_sample(array, samples, _fixed_batch(inputs, sample)):
                    extremes.setdefault(name, Extremes()).add(values)
            count += samples
    if not count:
        raise DataError("there are no calibration samples; give at least one")
    return {name: found.widened() for name, found in extremes.items()}, count


def _watching(model: ModelProto, tensors: Sequence[str]) -> bytes:
    watched = ModelProto()
    watched.CopyFrom(model)
    present = {value.name for value in watched.graph.output}
    for name in tensors:
        if name not in present:
            watched.graph.output.append(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            )
    return bytes(watched.SerializeToString())


def cut_calls(
    inputs: Sequence[ValueInfoProto], batch: Mapping[str, NDArray[Any]], symbol: str
) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
    """Cut a batch into calls, each with its number of samples.

    One sample a call where the graph leaves its first axis free, else as many as it fixes. A graph
    whose first axis is neither gets the batch whole.
    """
    missing = [value.name for value in inputs if value.name not in batch]
    if missing:
        raise ModelError(
            f"the model needs the inputs {[v.name for v in inputs]} and the calibration samples "
            f"lack {missing}; they give {sorted(batch)}"
        )
    fed = {value.name: np.asarray(batch[value.name]) for value in inputs}
    fixed = _fixed_batch(inputs, fed)
    size = fixed or 1
    split = [
        value.name
        for value in inputs
        if fed[value.name].ndim
        and (_is_batch(value, symbol) or (fixed and _first_axis(value) == fixed))
    ]
    lengths = {len(fed[name]) for name in split}
    if len(lengths) != 1:
        yield fed, 1
        return
    count = lengths.pop()
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        call = {name: a[rows] if name in split else a for name, a in fed.items()}
        yield call, min(size, count - start)


def _fixed_batch(inputs: Sequence[ValueInfoProto], fed: Mapping[str, NDArray[Any]]) -> int:
    """Return the fixed first axis of the first input, or 0 where it is free or not the samples."""
    first = next((value for value in inputs if fed[value.name].ndim), None)
    return _first_axis(first) if first is not None else 0


def _first_axis(value: ValueInfoProto) -> int:
    dims = value.type.tensor_type.shape.dim
    return int(dims[0].dim_value) if dims else 0


def _is_batch(value: ValueInfoProto, symbol: str) -> bool:
    dims = value.type.tensor_type.shape.dim
    return bool(dims) and not dims[0].HasField("dim_value") and dims[0].dim_param == symbol


def _by_sample(array: NDArray[Any], samples: int, size: int) -> Sequence[NDArray[Any]]:
    """Return the values of each sample of a call of `size`, without its padding.

    Where the first axis is not the batch (windows, frames) they come as those of one sample.
    """
    if not array.size:
        return ()
    if samples > 1 and array.ndim and len(array) == size:
        return list(array[:samples])
    return (array,)


def _check_finite(sample: Mapping[str, NDArray[Any]], number: int) -> None:
    for name, array in sample.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(
                f"the input {name!r} is NaN or infinite on calibration sample {number}; no INT8 "
                "range can contain it: check this sample"
            )

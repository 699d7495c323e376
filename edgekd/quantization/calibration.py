"""The range of each activation over calibration samples: exact, streamed, of any order and batch.

Samples run one at a time, whatever the batch they come in: a kernel may round differently in
another batch, and then two runs on the same samples would write different files. One sample's
activations are all that is held at once.
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

Range = tuple[np.float32, np.float32]


def min_max(
    model: ModelProto, tensors: Sequence[str], feeds: Iterator[Mapping[str, NDArray[Any]]]
) -> tuple[dict[str, Range], int]:
    """Return the least and greatest value of each tensor over all samples, and their number.

    Args:
        model: with the tensors; it is not changed.
        tensors: names of float tensors of the graph.
        feeds: batches by input name, [batch, ...]. Padding counts as data: give text one sample
            at a time, or in equal lengths.

    Raises:
        DataError: there is no sample.
        ModelError: an input is missing or does not fit; an activation is NaN or infinite.
    """
    session = open_session(_watching(model, tensors))
    inputs = inputs_of(model)
    ranges: dict[str, Range] = {}
    count = 0
    for batch in feeds:
        for sample in _one_by_one(inputs, batch, batch_symbol(model)):
            arrays = run(session, list(tensors), sample, name="the model to calibrate")
            for name, array in zip(tensors, arrays, strict=True):
                if array.size:
                    ranges[name] = _merge(ranges.get(name), array, name, count)
            count += 1
    if not count:
        raise DataError("there are no calibration samples; give at least one")
    return ranges, count


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


def _one_by_one(
    inputs: Sequence[ValueInfoProto], batch: Mapping[str, NDArray[Any]], symbol: str
) -> Iterator[dict[str, NDArray[Any]]]:
    """Cut a batch into samples where the graph's first axis is the batch, else give it whole."""
    missing = [value.name for value in inputs if value.name not in batch]
    if missing:
        raise ModelError(
            f"the model needs the inputs {[v.name for v in inputs]} and the calibration samples "
            f"lack {missing}; they give {sorted(batch)}"
        )
    fed = {value.name: np.asarray(batch[value.name]) for value in inputs}
    split = [value.name for value in inputs if _is_batch(value, symbol) and fed[value.name].ndim]
    lengths = {len(fed[name]) for name in split}
    if len(lengths) != 1:
        yield fed
        return
    for i in range(lengths.pop()):
        yield {name: a[i : i + 1] if name in split else a for name, a in fed.items()}


def _is_batch(value: ValueInfoProto, symbol: str) -> bool:
    dims = value.type.tensor_type.shape.dim
    return bool(dims) and not dims[0].HasField("dim_value") and dims[0].dim_param == symbol


def _merge(known: Range | None, array: NDArray[Any], name: str, sample: int) -> Range:
    low, high = np.float32(array.min()), np.float32(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # min and max of numpy pass NaN on
        raise ModelError(
            f"the activation {name!r} is NaN or infinite on calibration sample {sample}; no INT8 "
            "range can hold it: check this sample's input, or the float model on it"
        )
    return (low, high) if known is None else (min(known[0], low), max(known[1], high))

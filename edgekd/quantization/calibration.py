"""Calibration: one pass over the samples collects the statistics of all activations, streamed.

Samples run one at a time, whatever the batch they come in: a kernel may round differently in
another batch, and then two runs on the same samples would write different files. Only the
activations of the samples that run at once are in memory. A file with a fixed first axis of more
than one gets as many samples as it takes; there the order of the samples may change last digits.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.data.dataset import Arrays
from edgekd.errors import DataError, ModelError
from edgekd.exporters.ort_session import open_session, run
from edgekd.quantization.kept_samples import KeptSamples
from edgekd.quantization.sample_calls import Call, cut_calls
from edgekd.quantization.statistics import Statistics

_AT_ONCE_BYTES = 2**30
"""Of the activations of samples that run at once, or wait to be counted."""
MASK = "attention_mask"
"""The usual name of the input that is 0 where a text is padded."""


@dataclass
class Collected:
    """What one pass over the calibration samples gave."""

    statistics: dict[str, Statistics]
    """By tensor, of those that have values."""
    further: dict[str, float]
    """The greatest magnitude of tensors without statistics."""
    samples: int = 0
    kept: KeptSamples = field(default_factory=KeptSamples)
    """A few of the samples, one call each: the same ones in whatever order they came."""

    def magnitude(self, tensor: str) -> float:
        """Return the greatest magnitude of a tensor that was watched; NaN if one value is."""
        if tensor not in self.statistics:
            return self.further[tensor]
        extremes = [half.extremes for half in self.statistics[tensor].halves]
        return float(np.max([[-found.low, found.high] for found in extremes]))

    def add(self, call: Call, found: Mapping[str, NDArray[Any]]) -> None:
        """Add what the graph gave for a call."""
        self.samples += call.samples
        for name, array in found.items():
            for values, digest in zip(call.by_sample(array), call.digests, strict=False):
                if name in self.further:
                    most = float(np.abs(values).max())
                    self.further[name] = float(np.maximum(self.further[name], most))
                else:
                    statistics = self.statistics.setdefault(name, Statistics())
                    statistics.halves[digest[0] & 1].add(values)
        self.kept.offer(call.arrays, call.digests[0])


def collect(
    model: ModelProto,
    tensors: Sequence[str],
    batches: Iterator[Arrays],
    *,
    magnitudes: Sequence[str] = (),
    mask: str = MASK,
    threads: int = 1,
) -> Collected:
    """Run a graph on all samples and collect the statistics of its tensors.

    Args:
        model: with the tensors; it is not changed.
        tensors: names of float32 tensors of the graph.
        batches: by input name, [batch, ...].
        magnitudes: names of further float tensors, of which only the greatest magnitude is wanted.
        mask: input that is 0 where a sample is padded; see `cut_calls`. Other padding counts as
            data: give such samples one at a time, or in equal lengths.
        threads: the most samples that run at once; fewer where activations are large. They change
            no result.

    Raises:
        DataError: there is no sample.
        ModelError: an input is missing, does not fit, or is NaN or infinite.
    """
    watched = list(dict.fromkeys([*tensors, *magnitudes]))
    session = _open_watching(model, watched)
    collected = Collected({}, dict.fromkeys(set(watched) - set(tensors), 0.0))

    def run_one(call: Call) -> list[NDArray[Any]]:
        named = "the model to calibrate"
        return run(session, watched, call.arrays, name=named) if watched else []

    calls = _checked(call for batch in batches for call in cut_calls(model, batch, mask=mask))
    for call, arrays in _run_all(calls, run_one, threads):
        collected.add(call, dict(zip(watched, arrays, strict=True)))
        arrays.clear()  # before the next ones are made
    if not collected.samples:
        raise DataError("there are no calibration samples; give at least one")
    return collected


def _run_all(
    calls: Iterator[Call], run_one: Callable[[Call], list[NDArray[Any]]], threads: int
) -> Iterator[tuple[Call, list[NDArray[Any]]]]:
    """Run calls, several at once, and yield what they give in their order.

    As many at once as the first one shows to fit into `_AT_ONCE_BYTES`.
    """
    first_call = next(calls, None)
    if first_call is None:
        return
    arrays = run_one(first_call)
    size = sum(array.nbytes for array in arrays)
    yield first_call, arrays
    at_once = min(threads, _AT_ONCE_BYTES // max(1, size) - 1)
    if at_once <= 1:
        yield from ((call, run_one(call)) for call in calls)
        return
    running: deque[tuple[Call, Future[list[NDArray[Any]]]]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        for call in calls:
            running.append((call, pool.submit(run_one, call)))
            if len(running) > at_once:
                first, future = running.popleft()
                yield first, future.result()
        for first, future in running:
            yield first, future.result()


def _checked(calls: Iterator[Call]) -> Iterator[Call]:
    count = 0
    for call in calls:
        for name, array in call.arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise ModelError(
                    f"the input {name!r} is NaN or infinite on calibration sample {count}; no INT8 "
                    "range can contain it: check this sample"
                )
        count += call.samples
        yield call


def _open_watching(model: ModelProto, tensors: Sequence[str]) -> Any:
    """Open a session of a graph that also gives tensors from inside it.

    Messages that follow each other in a file are one message, so that no copy of the weights is
    made for the outputs.
    """
    present = {value.name for value in model.graph.output}
    added = ModelProto()
    added.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in tensors
        if name not in present
    )
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        path = Path(folder, "watched.onnx")
        path.write_bytes(model.SerializeToString())
        with path.open("ab") as file:
            file.write(added.SerializeToString())
        return open_session(path, name="the model to calibrate")

"""One calibration for all variants: a float graph, what is chosen of it, and its ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.errors import NothingToDo
from edgekd.exporters.model_stats import inputs_of
from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.shapes import batch_symbol
from edgekd.quantization.calibration import collect_ranges, cut_calls
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.headroom import Range
from edgekd.quantization.node_selection import Choice, choose
from edgekd.quantization.proof import Samples

Feeds = Callable[[], Iterator[Mapping[str, NDArray[Any]]]]
_PROVEN_ON = 12
"""Calibration samples that a written file must answer as the float file does."""


@dataclass(frozen=True)
class Chosen:
    """A float graph, prepared, and what of it a static quantization takes."""

    model: ModelProto
    choice: Choice
    name: str
    """Of the file, for messages."""


@dataclass(frozen=True)
class Calibrated(Chosen):
    """It with the ranges of its activations."""

    ranges: Mapping[str, Range]
    samples: int
    first: Samples
    """A few of the samples, one at a time, to try a written file on."""


Watch = Callable[[Chosen], Sequence[str]]
"""Returns the tensors whose ranges a variant needs.

Raises:
    NothingToDo: the variant can quantize nothing in the graph.
"""


def calibrate_watched(source: Path, feeds: Feeds, watches: Sequence[Watch]) -> Calibrated:
    """Choose what to quantize and measure its ranges, once for all variants.

    Ranges of activations go from the least to the greatest value over all samples, and beyond where
    other samples are likely to exceed them.

    Args:
        source: float32 weights; any operator set that can be raised to 13.
        feeds: called once; gives batches by input name, [batch, ...]. Padding counts as data:
            give text one sample at a time, or in equal lengths.
        watches: of the variants that will be made. Where one raises `NothingToDo`, so will its
            variant; where all do, nothing is calibrated.

    Raises:
        DataError: no sample.
        NothingToDo: no variant can quantize anything in the file.
        ModelError: the file cannot be read or is quantized already; a sample does not fit; an
            input is NaN or infinite.
    """
    model = prepare(load_onnx(source), source.name)
    chosen = Chosen(model, choose(model), source.name)
    watched: dict[str, None] = {}
    refused: list[str] = []
    for watch in watches:
        try:
            watched |= dict.fromkeys(watch(chosen))
        except NothingToDo as signal:
            refused.append(str(signal))
    if len(refused) == len(watches):
        raise NothingToDo("; ".join(dict.fromkeys(refused)))
    first: list[Mapping[str, NDArray[Any]]] = []
    ranges, samples = collect_ranges(model, list(watched), _kept(model, feeds(), first))
    return Calibrated(model, chosen.choice, source.name, ranges, samples, tuple(first))


def _kept(
    model: ModelProto,
    batches: Iterator[Mapping[str, NDArray[Any]]],
    first: list[Mapping[str, NDArray[Any]]],
) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Pass batches on, and keep copies of the first samples."""
    inputs, symbol = inputs_of(model), batch_symbol(model)
    for batch in batches:
        if len(first) < _PROVEN_ON:
            some = islice(cut_calls(inputs, batch, symbol), _PROVEN_ON - len(first))
            first += [{name: array.copy() for name, array in call.items()} for call, _ in some]
        yield batch

"""Static post-training quantization: INT8 as Q/DQ for ONNX Runtime's CPU kernels.

A float graph, what of it is chosen, and the ranges of its activations make a plan; the plan is
put into the graph. A file is written only when ONNX Runtime has run it on calibration samples and
it followed the float file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.errors import NothingToDo
from edgekd.exporters.model_stats import inputs_of
from edgekd.exporters.onnx_files import check, load_onnx, save_onnx
from edgekd.exporters.shapes import batch_symbol
from edgekd.exporters.strip import strip
from edgekd.quantization.calibration import collect_ranges, cut_calls
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.headroom import Range
from edgekd.quantization.insertion import insert
from edgekd.quantization.left_in_float import leave_in_float
from edgekd.quantization.node_selection import Choice, choose
from edgekd.quantization.plan import Activations, Plan
from edgekd.quantization.planning import list_watched, make_plan
from edgekd.quantization.proof import FloatAnswers, Samples, check_follows

Feeds = Callable[[], Iterator[Mapping[str, NDArray[Any]]]]

_PROVEN_ON = 12
"""Calibration samples that a written file must answer as the float file does."""


@dataclass(frozen=True, kw_only=True)
class QuantizedFacts:
    """The quantized layers, the number of samples, and why other layers stayed float."""

    kind: Literal["convolutional", "transformer"]
    """In a transformer only products with constant weights are quantized."""
    activations: Activations
    samples: int
    layers: int
    """Conv, Gemm and MatMul nodes in INT8."""
    left: Mapping[str, str]
    """Conv, Gemm and MatMul nodes that stayed float: name, reason."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Calibrated:
    """A float graph, what of it is to be quantized, and the ranges of its activations."""

    model: ModelProto
    choice: Choice
    ranges: Mapping[str, Range]
    samples: int
    first: Samples
    """A few of the samples, one at a time, to try a written file on."""
    name: str
    """Of the file, for messages."""


def quantize_int8(
    source: Path,
    target: Path,
    feeds: Feeds,
    *,
    activations: Activations = "uint8",
) -> QuantizedFacts:
    """Write the INT8 form of a float ONNX file: `calibrate`, then `write_int8`."""
    return write_int8(calibrate(source, feeds), target, activations=activations)


def calibrate(source: Path, feeds: Feeds) -> Calibrated:
    """Choose what to quantize and measure its ranges, once for all variants.

    Ranges of activations go from the least to the greatest value over all samples, and beyond where
    other samples are likely to exceed them.

    Args:
        source: float32 weights; any operator set that can be raised to 13.
        feeds: called once; gives batches by input name, [batch, ...]. Padding counts as data:
            give text one sample at a time, or in equal lengths.

    Raises:
        DataError: no sample.
        NothingToDo: nothing in the file can be quantized.
        ModelError: the file cannot be read or is quantized already; a sample does not fit; an
            input is NaN or infinite.
    """
    model = prepare(load_onnx(source), source.name)
    choice = choose(model)
    _require_layers(source.name, choice.layers, choice.left)
    first: list[Mapping[str, NDArray[Any]]] = []
    ranges, samples = collect_ranges(
        model, list_watched(model, choice), _kept(model, feeds(), first)
    )
    return Calibrated(model, choice, ranges, samples, tuple(first), source.name)


def _require_layers(name: str, layers: Mapping[str, object], left: Mapping[str, str]) -> None:
    if not layers:
        found = "; ".join(f"{node}: {why}" for node, why in list(left.items())[:5])
        has_other_floats = re.search(r"is (b?float16|double), not float32", " ".join(left.values()))
        cure = "; export the network in float32: network.float() before torch.onnx.export"
        raise NothingToDo(
            f"nothing in {name} can be quantized: INT8 helps Conv, Gemm and MatMul with "
            f"constant float32 weights ({found or 'it contains none of these'})"
            f"{cure if has_other_floats else ''}"
        )


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


def write_int8(calibrated: Calibrated, target: Path, *, activations: Activations) -> QuantizedFacts:
    """Write Q/DQ with int8 weights per channel (-127..127).

    Equal samples give equal bytes, in any batch. So they do in any order, unless layers are left in
    float for the signal-to-noise ratio of the outputs, which is measured on the first samples.

    Args:
        calibrated: is not changed.
        target: the file to write.
        activations: "uint8" with a zero point is what ONNX Runtime fuses on CPUs. "int8" is
            symmetric around zero, for runtimes whose kernels support only one signedness; on CPUs
            most of it stays unfused and it is often slower than FP32.

    Raises:
        NothingToDo: the ranges leave nothing to quantize, or the file that was made does not
            follow the float file.
    """
    answers = FloatAnswers(calibrated.model, calibrated.first, name=calibrated.name)
    plan, graph = find_plan(calibrated, answers, activations)
    quantized = strip(graph)
    check(quantized, f"the quantized form of {calibrated.name}")
    check_follows(quantized, answers)
    save_onnx(quantized, target)
    return QuantizedFacts(
        kind=plan.kind,
        activations=activations,
        samples=calibrated.samples,
        layers=len(plan.layers),
        left=plan.left,
    )


def find_plan(
    calibrated: Calibrated, answers: FloatAnswers, activations: Activations
) -> tuple[Plan, ModelProto]:
    """Return the plan of a calibrated graph, with what has to stay float, and its INT8 graph.

    Raises:
        NothingToDo: the ranges leave nothing to quantize.
    """
    model = calibrated.model

    def make(floats: Mapping[str, str]) -> Plan:
        return make_plan(model, calibrated.choice, calibrated.ranges, activations, floats=floats)

    plan = make({})
    _require_layers(calibrated.name, plan.layers, plan.left)
    return leave_in_float(model, plan, answers, make, lambda plan: insert(model, plan))

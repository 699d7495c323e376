"""Static post-training quantization: INT8 as Q/DQ for ONNX Runtime's CPU kernels.

The ranges are ours (exact, streamed, equal for any order and batch), the insertion of Q/DQ is
onnxruntime's own quantizer, and the graph it returns is then mended: see `_mend`.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.errors import NothingToDo
from edgekd.exporters.onnx_files import check, load_onnx, save_onnx
from edgekd.exporters.strip import strip
from edgekd.quantization.calibration import Range, collect_ranges
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.node_selection import Choice, choose
from edgekd.quantization.qdq_cleanup import mend

Feeds = Callable[[], Iterator[Mapping[str, NDArray[Any]]]]


Activations = Literal["uint8", "int8"]


@dataclass(frozen=True, kw_only=True)
class QuantizedFacts:
    """What was quantized, on how many samples, and what stayed float and why."""

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

    Ranges of activations are the least and greatest value over all samples.

    Args:
        source: float32 weights; any operator set that can be raised to 13.
        feeds: called once; gives batches by input name, [batch, ...]. Padding counts as data:
            give text one sample at a time, or in equal lengths.

    Raises:
        DataError: no sample.
        NothingToDo: nothing in the file can be quantized.
        ModelError: the file cannot be read or is quantized already; a sample does not fit; an
            activation is NaN or infinite.
    """
    model = prepare(load_onnx(source), source.name)
    choice = choose(model)
    if not choice.layers:
        found = "; ".join(f"{name}: {why}" for name, why in list(choice.left.items())[:5])
        raise NothingToDo(
            f"nothing in {source.name} can be quantized: INT8 helps Conv, Gemm and MatMul with "
            f"constant float32 weights ({found or 'it contains none of these'})"
        )
    ranges, samples = _calibrate(model, choice, feeds)
    return Calibrated(model, choice, ranges, samples, source.name)


def write_int8(calibrated: Calibrated, target: Path, *, activations: Activations) -> QuantizedFacts:
    """Write Q/DQ with int8 weights per channel (-127..127).

    Equal samples give equal bytes, in any order and any batch.

    Args:
        calibrated: is not changed.
        target: the file to write.
        activations: "uint8" with a zero point is what ONNX Runtime fuses on CPUs. "int8" is
            symmetric around zero, for runtimes whose kernels support only one signedness; on CPUs
            most of it stays unfused and it is often slower than FP32.
    """
    model, choice = copy.deepcopy(calibrated.model), calibrated.choice
    quantized = mend(_insert(model, choice, calibrated.ranges, activations), model, choice)
    quantized = strip(quantized)
    check(quantized, f"the quantized form of {calibrated.name}")
    save_onnx(quantized, target)
    return QuantizedFacts(
        kind=choice.kind,
        activations=activations,
        samples=calibrated.samples,
        layers=len(choice.layers),
        left=choice.left,
    )


def _calibrate(model: ModelProto, choice: Choice, feeds: Feeds) -> tuple[dict[str, Range], int]:
    """Measure the ranges of what the chosen nodes take and give."""
    constants = {tensor.name for tensor in model.graph.initializer}
    chosen = [node for node in model.graph.node if node.name in set(choice.nodes)]
    floats = {
        value.name
        for value in [*model.graph.input, *model.graph.value_info, *model.graph.output]
        if value.type.tensor_type.elem_type == 1
    }
    names = {
        name: None
        for node in chosen
        for name in [*node.input, *([] if choice.kind == "transformer" else node.output)]
        if name in floats and name not in constants
    }
    return collect_ranges(model, list(names), feeds())


def _insert(
    model: ModelProto,
    choice: Choice,
    ranges: Mapping[str, Range],
    activations: Activations,
) -> ModelProto:
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import add_infer_metadata

    add_infer_metadata(model)  # or the quantizer would write the model to a folder to type it
    operators = sorted({n.op_type for n in model.graph.node if n.name in set(choice.nodes)})
    with _silenced():
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8 if activations == "uint8" else QuantType.QInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, dict(ranges)),
            nodes_to_quantize=list(choice.nodes),
            nodes_to_exclude=[],
            op_types_to_quantize=operators,
            extra_options=_options(choice, activations),
        )
        quantized: ModelProto = quantizer.quantize_model()
    return quantized


def _options(choice: Choice, activations: Activations) -> dict[str, Any]:
    options: dict[str, Any] = {"ActivationSymmetric": activations == "int8"}
    if choice.kind == "transformer":
        # The product leaves in float (one fused kernel): no rounding on the residual stream.
        options["OpTypesToExcludeOutputQuantization"] = ["MatMul", "Gemm"]
    return options


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep back what the quantizer logs, on the root logger, of decisions that were ours."""
    root = logging.getLogger()

    def foreign(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in Path(record.pathname).parts

    handler = logging.NullHandler()  # else logging.warning() would install one for good
    root.addFilter(foreign)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.removeFilter(foreign)

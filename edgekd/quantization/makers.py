"""The registry of variants: what each needs to be calibrated, and what writes its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgekd.artifact import Variant
from edgekd.quantization.accuracy.costs import count_work, measure_savings, remember
from edgekd.quantization.accuracy.escalation import Accuracy
from edgekd.quantization.accuracy.floats import Costs
from edgekd.quantization.accuracy.judging import JudgeGraph
from edgekd.quantization.calibrated import DEFAULT, Calibrated, Feeds, Watch, calibrate_watched
from edgekd.quantization.dynamic import watch_dynamic, write_dynamic
from edgekd.quantization.half import watch_half, write_half
from edgekd.quantization.layouts import ONNX_RUNTIME, TENSORRT, XNNPACK, Layout
from edgekd.quantization.quantized import QuantizedFacts
from edgekd.quantization.ranges import RangeOption
from edgekd.quantization.static import watch_int8, write_int8
from edgekd.quantization.weights_only import watch_weights, write_weights


@dataclass(frozen=True)
class Maker:
    """What makes one variant of a calibrated graph."""

    watch: Watch
    write: Callable[[Calibrated, Path, Accuracy, Path | None, JudgeGraph | None], QuantizedFacts]
    """Writes the file, with repairs of its accuracy where it has any; see `make`.

    Raises:
        NothingToDo: there is nothing to quantize, or what was made does not follow the float file.
    """


def _static(layout: Layout) -> Maker:
    def write(
        calibrated: Calibrated,
        target: Path,
        accuracy: Accuracy,
        work: Path | None,
        judge: JudgeGraph | None,
    ) -> QuantizedFacts:
        # Only this machine's kernels can be timed here.
        costs: Costs = measure_savings if layout is ONNX_RUNTIME else count_work
        if work is not None:
            costs = remember(costs, work / f"{target.stem}.costs.json")
        return write_int8(
            calibrated, target, layout=layout, accuracy=accuracy, costs=costs, judge=judge
        )

    return Maker(partial(watch_int8, layout=layout), write)


def _unrepaired(watch: Watch, write: Callable[[Calibrated, Path], QuantizedFacts]) -> Maker:
    return Maker(watch, lambda calibrated, target, *_: write(calibrated, target))


MAKERS: Mapping[Variant, Maker] = {
    **{layout.variant: _static(layout) for layout in (ONNX_RUNTIME, XNNPACK, TENSORRT)},
    "int8-dynamic": _unrepaired(watch_dynamic, write_dynamic),
    "int8-weights": _unrepaired(watch_weights, partial(write_weights, bits=8)),
    "int4": _unrepaired(watch_weights, partial(write_weights, bits=4)),
    "fp16": _unrepaired(watch_half, write_half),
}


_GPU: frozenset[Variant] = frozenset({"int8-tensorrt", "fp16"})
"""For runtimes that compute a batch norm together with what is around it: TensorRT-RTX made 434
layers of a DenseNet-121 instead of 252 where its norms were convolutions."""


def calibrate_for(
    variants: Sequence[Variant],
    source: Path,
    feeds: Feeds,
    *,
    ranges: RangeOption = DEFAULT,
    threads: int = 1,
) -> Calibrated:
    """Calibrate a float ONNX file once for all of some variants, as `calibrate_watched` does."""
    watches = [MAKERS[variant].watch for variant in variants]
    return calibrate_watched(
        source,
        feeds,
        watches,
        ranges=ranges,
        threads=threads,
        norms_as_convolutions=_GPU.isdisjoint(variants),
    )


def make(
    variant: Variant,
    calibrated: Calibrated,
    target: Path,
    *,
    accuracy: Accuracy = "auto",
    work: Path | None = None,
    judge: JudgeGraph | None = None,
) -> QuantizedFacts:
    """Write the file of one variant, with repairs as `escalate` makes them.

    Args:
        variant: of the table.
        calibrated: for it, see `calibrate_for`.
        target: the file.
        accuracy: which repairs.
        work: a folder for what is measured on the way: a call that was killed, made again with
            the same folder, writes what it would have written.
        judge: returns the quality of a graph, for repairs that go on until the budget is met.

    Raises:
        NothingToDo: it cannot be made, with the reason.
    """
    return MAKERS[variant].write(calibrated, target, accuracy, work, judge)

"""The registry of variants: what each needs to be calibrated, and what writes its file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edgekd.artifact import Variant
from edgekd.quantization.calibrated import DEFAULT, Calibrated, Feeds, Watch, calibrate_watched
from edgekd.quantization.dynamic import watch_dynamic, write_dynamic
from edgekd.quantization.half import watch_half, write_half
from edgekd.quantization.layouts import ONNX_RUNTIME, TENSORRT, XNNPACK, Layout
from edgekd.quantization.quantized import QuantizedFacts
from edgekd.quantization.ranges import RangeOption
from edgekd.quantization.static import watch_int8, write_int8


@dataclass(frozen=True)
class Maker:
    """What makes one variant of a calibrated graph."""

    watch: Watch
    write: Callable[[Calibrated, Path], QuantizedFacts]
    """Writes the file.

    Raises:
        NothingToDo: there is nothing to quantize, or what was made does not follow the float file.
    """


def _static(layout: Layout) -> Maker:
    return Maker(partial(watch_int8, layout=layout), partial(write_int8, layout=layout))


MAKERS: Mapping[Variant, Maker] = {
    **{layout.variant: _static(layout) for layout in (ONNX_RUNTIME, XNNPACK, TENSORRT)},
    "int8-dynamic": Maker(watch_dynamic, write_dynamic),
    "fp16": Maker(watch_half, write_half),
}


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
    return calibrate_watched(source, feeds, watches, ranges=ranges, threads=threads)


def make(variant: Variant, calibrated: Calibrated, target: Path) -> QuantizedFacts:
    """Write the file of one variant.

    Raises:
        NothingToDo: it cannot be made, with the reason.
    """
    return MAKERS[variant].write(calibrated, target)

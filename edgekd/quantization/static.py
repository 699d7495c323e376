"""Static post-training quantization: INT8 as Q/DQ for ONNX Runtime's CPU kernels.

A float graph, what of it is chosen, and the ranges of its activations make a plan; the plan is
put into the graph. A file is written only when ONNX Runtime has run it on calibration samples and
it followed the float file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

from onnx import ModelProto

from edgekd.errors import NothingToDo
from edgekd.evaluation.quality_gate import Judged
from edgekd.exporters.input_casts import cast_inputs_first
from edgekd.exporters.onnx_files import check, save_onnx
from edgekd.exporters.shapes import lower_opset
from edgekd.exporters.strip import strip
from edgekd.quantization.accuracy.costs import count_work
from edgekd.quantization.accuracy.escalation import Accuracy, Outcome, escalate
from edgekd.quantization.accuracy.floats import Costs
from edgekd.quantization.accuracy.judging import JudgeGraph
from edgekd.quantization.accuracy.sensitivity import rank_layers
from edgekd.quantization.accuracy.workshop import Trial, Workshop, make_plan_of
from edgekd.quantization.calibrated import (
    DEFAULT,
    Calibrated,
    Chosen,
    Feeds,
    Watched,
    calibrate_watched,
)
from edgekd.quantization.layouts import ONNX_RUNTIME, Layout
from edgekd.quantization.planning import list_watched
from edgekd.quantization.proof import FloatAnswers, check_follows
from edgekd.quantization.quantized import QuantizedFacts
from edgekd.quantization.range_choice import choose_ranges
from edgekd.quantization.ranges import RangeOption
from edgekd.quantization.wide_depthwise import widen_depthwise


def quantize_int8(
    source: Path,
    target: Path,
    feeds: Feeds,
    *,
    layout: Layout = ONNX_RUNTIME,
    ranges: RangeOption = DEFAULT,
    accuracy: Accuracy = "auto",
    threads: int = 1,
) -> QuantizedFacts:
    """Write the INT8 form of a float ONNX file: `calibrate`, then `write_int8`."""
    calibrated = calibrate(source, feeds, layout=layout, ranges=ranges, threads=threads)
    return write_int8(calibrated, target, layout=layout, accuracy=accuracy)


def calibrate(
    source: Path,
    feeds: Feeds,
    *,
    layout: Layout = ONNX_RUNTIME,
    ranges: RangeOption = DEFAULT,
    threads: int = 1,
) -> Calibrated:
    """Choose what to quantize and collect its statistics, as `calibrate_watched` does."""
    watches = [partial(watch_int8, layout=layout)]
    return calibrate_watched(
        source,
        feeds,
        watches,
        ranges=ranges,
        threads=threads,
        norms_as_convolutions=layout.rounds == "regions",
    )


def watch_int8(chosen: Chosen, *, layout: Layout) -> Watched:
    """Return what `write_int8` needs to know.

    Raises:
        NothingToDo: nothing in the graph can be quantized.
    """
    _require_layers(chosen.name, chosen.choice.layers, chosen.choice.left)
    return Watched(list_watched(chosen.model, chosen.choice, layout))


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


def write_int8(
    calibrated: Calibrated,
    target: Path,
    *,
    layout: Layout,
    accuracy: Accuracy = "auto",
    costs: Costs = count_work,
    judge: JudgeGraph | None = None,
) -> QuantizedFacts:
    """Write Q/DQ with int8 weights per channel (-127..127).

    Equal samples give equal bytes, in any batch and in any order, on the same kind of processor.

    Args:
        calibrated: is not changed.
        target: the file to write.
        layout: of the runtimes that the file is for. Symmetric int8 activations stay unfused on
            most CPUs and are often slower than FP32 there.
        accuracy: repairs, see `escalate`; () for none.
        costs: what layers cost in float, where some are left in float.
        judge: returns the quality of a graph as it would be written; see `escalate`.

    Raises:
        NothingToDo: the ranges leave nothing to quantize, or the file that was made does not
            follow the float file.
    """
    answers = FloatAnswers(calibrated.model, calibrated.judged, name=calibrated.name)
    calibrated = choose_ranges(calibrated, answers, layout)
    outcome = find_outcome(calibrated, answers, layout, accuracy=accuracy, costs=costs, judge=judge)
    plan, quantized = outcome.trial.plan, _finish(outcome.trial.graph, layout)
    check(quantized, f"the quantized form of {calibrated.name}")
    check_follows(quantized, answers)
    save_onnx(quantized, target)
    methods = outcome.repaired.source.methods(layout.activations)
    return QuantizedFacts(
        kind=plan.kind,
        activations=layout.activations,
        weights="int8",
        samples=calibrated.samples,
        layers=len(plan.layers),
        left=plan.left,
        ranges={n: by for n, by in methods.items() if n in plan.tensors},
        repairs=tuple(
            {name: value for name, value in asdict(attempt).items() if name != "seconds"}
            for attempt in outcome.attempts
        ),
        repair_s=tuple(attempt.seconds for attempt in outcome.attempts),
        sensitivity=rank_layers(outcome),
    )


def _finish(graph: ModelProto, layout: Layout) -> ModelProto:
    """Return a quantized graph as it is written."""
    if layout.absorbs:
        graph = widen_depthwise(graph)
    if layout.casts_inputs_first:
        graph = cast_inputs_first(graph)
    if layout.most_opset is not None:
        graph = lower_opset(graph, layout.most_opset)
    return strip(graph)


def find_outcome(
    calibrated: Calibrated,
    answers: FloatAnswers,
    layout: Layout,
    *,
    accuracy: Accuracy = "auto",
    costs: Costs = count_work,
    judge: JudgeGraph | None = None,
) -> Outcome:
    """Return the INT8 graph of a calibrated graph with its repairs, see `escalate`.

    Raises:
        NothingToDo: the ranges leave nothing to quantize.
    """
    plan = make_plan_of(calibrated, layout)
    _require_layers(calibrated.name, plan.layers, plan.left)

    def judge_trial(trial: Trial) -> Judged:
        assert judge is not None
        return judge(_finish(trial.graph, layout), layout.variant)

    return escalate(
        Workshop(calibrated, answers, layout),
        accuracy,
        costs=costs,
        judge=None if judge is None else judge_trial,
    )

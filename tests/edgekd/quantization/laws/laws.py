"""The law that every quantized graph obeys, and the graphs around one operator."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from edgekd.benchmarks.operators import SAME_VALUES
from edgekd.errors import ModelError, NothingToDo
from edgekd.exporters.onnx_files import check, load_onnx, messages, save_onnx
from edgekd.exporters.ort_session import Level, open_session, run
from edgekd.quantization.accuracy.escalation import Accuracy
from edgekd.quantization.calibrated import Calibrated
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.layouts import ONNX_RUNTIME, TENSORRT, XNNPACK, Layout
from edgekd.quantization.proof import FloatAnswers
from edgekd.quantization.static import calibrate, find_outcome, write_int8
from tests.edgekd.quantization.laws.bound import Bounds
from tests.edgekd.quantization.laws.draft import SAMPLES, Draft
from tests.edgekd.quantization.laws.layers import layer
from tests.edgekd.quantization.laws.operators import OPERATORS

Arrays = dict[str, NDArray[Any]]
_PLAIN: Accuracy = ("layers-in-float",)
"""Repairs change weights and biases by more than the bounds of rounding to the nearest."""


@dataclass(frozen=True)
class Graph:
    """A graph and its feeds, one batch each; it is shown without its numbers."""

    model: ModelProto
    feeds: list[Arrays]

    def __repr__(self) -> str:
        shown = ModelProto()
        shown.CopyFrom(self.model)
        for tensor in shown.graph.initializer:
            if len(tensor.raw_data) > 40:
                tensor.ClearField("raw_data")
        return str(onnx.printer.to_text(shown))


_LAYOUTS = (ONNX_RUNTIME, XNNPACK, TENSORRT)
_SHAPES = ((3, 6, 5), (4, 5, 5), (2, 7), (2, 3, 3, 4), (8,), (4, 6), (1, 1, 1), (0, 4, 4))


@st.composite
def graphs(draw: Any, operator: Callable[[Draft], None]) -> Graph:
    """Draw a graph with an operator between layers with weights, mostly, and its feeds."""
    draft = Draft(draw)
    draft.add_input(draft.pick(*_SHAPES))
    others = list(OPERATORS.values())
    if draft.pick(1, 1, 1, 0):
        layer(draft)
    for _ in range(draft.number(0, 2)):
        draft.pick(*others)(draft)
    before = len(draft.nodes)
    operator(draft)
    assume(len(draft.nodes) > before)
    for _ in range(draft.number(0, 2)):
        draft.pick(*others)(draft)
    if draft.pick(1, 1, 1, 0):
        layer(draft)
    for _ in range(draft.number(0, 1)):
        draft.pick(*others)(draft)
    model = draft.finish()
    size = draft.fixed or SAMPLES
    names = [value.name for value in model.graph.input]
    feeds = [
        {n: a[start : start + size] if a.ndim else a for n, a in draft.inputs.items() if n in names}
        for start in range(0, SAMPLES, size)
    ]
    return Graph(model, feeds)


def check_operator(name: str, examples: int, *, fused: bool) -> int:
    """Check the law on so many graphs around an operator; return in how many something is INT8."""
    done: list[bool] = []
    limits = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )

    @limits
    @given(graph=graphs(OPERATORS[name]))
    def law(graph: Graph) -> None:
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            done.append(check_law(graph, Path(folder), fused=fused))

    law()
    return sum(done)


def check_law(graph: Graph, folder: Path, *, fused: bool) -> bool:
    """Check all that holds of any file; return whether there was anything to quantize."""
    model, feeds = graph.model, graph.feeds
    source = folder / "f.onnx"
    save_onnx(model, source)
    try:  # ONNX Runtime refuses some that its single operators take, or on one sample
        batched = any(value.type.tensor_type.shape.dim[0].dim_param for value in model.graph.input)
        one = {n: a[:1] if batched and a.ndim else a for n, a in feeds[0].items()}
        run(open_session(source), [], one, name="the float file")
    except ModelError:
        assume(False)
    done = False
    for layout in _LAYOUTS:
        try:
            calibrated = calibrate(source, partial(iter, feeds), layout=layout)
        except NothingToDo:
            continue
        except ModelError as error:
            if "cannot be raised" in str(error):
                return False
            raise
        done |= _check_layout(model, calibrated, feeds, folder, layout)
        if fused and layout == ONNX_RUNTIME and done:
            _check_fused(calibrated, feeds[0], folder)
    return done


def _check_layout(
    source: ModelProto,
    calibrated: Calibrated,
    feeds: list[Arrays],
    folder: Path,
    layout: Layout,
) -> bool:
    target = folder / f"{layout.variant}.onnx"
    refusal = ""
    try:
        facts = write_int8(calibrated, target, layout=layout, accuracy=_PLAIN)
    except NothingToDo as reason:
        refusal = str(reason)
    if refusal:
        assert "does not run" not in refusal, refusal
        return False
    answers = FloatAnswers(calibrated.model, calibrated.judged, name="f.onnx")
    plan = find_outcome(calibrated, answers, layout, accuracy=_PLAIN).trial.plan
    assert set(plan.layers) | set(plan.left) >= set(calibrated.choice.layers)
    assert facts.layers == len(plan.layers) > 0
    quantized = load_onnx(target)
    _check_form(quantized, calibrated.model)
    write_int8(calibrated, folder / "again.onnx", layout=layout, accuracy=_PLAIN)
    assert _hash(target) == _hash(folder / "again.onnx")

    outputs = [value.name for value in quantized.graph.output]
    bounds = Bounds(calibrated.model, plan).follow(feeds[0])
    for kind, graph in (
        *(("source", source), ("prepared", calibrated.model), (layout.variant, quantized)),
    ):
        _check_within(kind, _answers(graph, outputs, feeds[0]), bounds, outputs)
    return True


def _check_fused(calibrated: Calibrated, feeds: Arrays, folder: Path) -> None:
    """Check the answers of fused kernels: these may round to the neighbour of the nearest."""
    answers = FloatAnswers(calibrated.model, calibrated.judged, name="f.onnx")
    plan = find_outcome(calibrated, answers, ONNX_RUNTIME, accuracy=_PLAIN).trial.plan
    quantized = load_onnx(folder / f"{ONNX_RUNTIME.variant}.onnx")
    outputs = [value.name for value in quantized.graph.output]
    if not _optimizer_is_right(calibrated.model, outputs, feeds):
        return
    bounds = Bounds(calibrated.model, plan, step=1.0).follow(feeds)
    # ONNX Runtime moves a Q up through a Transpose and the like, and shows an output rounded then.
    for node in reversed(calibrated.model.graph.node):
        grid = plan.tensors.get(node.output[0])
        if node.op_type in SAME_VALUES and grid is not None and node.input[0] in bounds:
            low, high = bounds[node.input[0]]
            bounds[node.input[0]] = (low - grid.scale, high + grid.scale)
    got = _answers(quantized, outputs, feeds, level=Level.ORT_ENABLE_ALL)
    _check_within("fused", got, bounds, outputs)


def _optimizer_is_right(model: ModelProto, outputs: list[str], feeds: Arrays) -> bool:
    """Whether ONNX Runtime computes the float file alike with and without its optimizer.

    ONNX Runtime 1.31 makes a FusedMatMul of a Transpose and a MatMul with a vector, which is wrong.
    """
    plain = _answers(model, outputs, feeds)
    found = _answers(model, outputs, feeds, level=Level.ORT_ENABLE_ALL)
    return all(
        np.allclose(a, b, 1e-3, 1e-3 * float(np.abs(a).max(initial=0)), equal_nan=True)
        for a, b in zip(plain, found, strict=True)
    )


def _check_form(quantized: ModelProto, model: ModelProto) -> None:
    """Check names, inputs and outputs, and that it is not quantized again."""
    check(quantized, "the quantized form")
    for side in ("input", "output"):
        before, after = (
            [(v.name, v.type.tensor_type.elem_type) for v in getattr(m.graph, side)]
            for m in (model, quantized)
        )
        assert before == after
    labels = [node.name for node in messages(quantized, NodeProto)]
    assert len(labels) == len(set(labels))
    made = [t.name for t in quantized.graph.initializer]
    made += [value.name for value in quantized.graph.input]
    made += [name for node in messages(quantized, NodeProto) for name in node.output if name]
    assert len(made) == len(set(made))
    with pytest.raises(ModelError, match="already quantized"):
        prepare(quantized, "it")


def _answers(
    model: ModelProto,
    outputs: list[str],
    feeds: Arrays,
    *,
    level: Any = Level.ORT_DISABLE_ALL,
) -> list[NDArray[Any]]:
    session = open_session(bytes(model.SerializeToString()), level=level)
    return run(session, outputs, feeds, name="random graph")


def _check_within(
    kind: str, got: list[NDArray[Any]], bounds: dict[str, Any], outputs: list[str]
) -> None:
    for name, array in zip(outputs, got, strict=True):
        low, high = bounds[name]
        assert array.shape == low.shape, name
        if array.dtype.kind != "f":
            continue
        fits = ((low <= array) & (array <= high)) | ~(np.isfinite(low) & np.isfinite(high))
        assert fits.all(), (
            f"{kind} {name}: {array[~fits][:5]} not in {low[~fits][:5]}..{high[~fits][:5]}"
        )


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

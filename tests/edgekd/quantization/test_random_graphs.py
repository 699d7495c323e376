"""Of any graph the INT8 file loads, has unique names, and errs no more than its scales allow."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgekd.errors import ModelError, NothingToDo
from edgekd.exporters.onnx_files import check, load_onnx, messages, save_onnx
from edgekd.exporters.ort_session import Level, open_session, run
from edgekd.quantization.accuracy.escalation import Accuracy
from edgekd.quantization.graph_preparation import prepare
from edgekd.quantization.layouts import ONNX_RUNTIME, TENSORRT, XNNPACK, Layout
from edgekd.quantization.plan import Plan
from edgekd.quantization.proof import FloatAnswers
from edgekd.quantization.static import calibrate, find_outcome, write_int8
from tests.edgekd.quantization.random_graphs import SAMPLES, random_graph

Arrays = dict[str, NDArray[Any]]
_PLAIN: Accuracy = ("layers-in-float",)
"""Repairs change weights and biases by more than the noise that is allowed here."""
_TIMES = 6.0
"""Rounding is not noise: errors of a few equal numbers add up. Faults err a hundred times more."""


def disturbed(model: ModelProto, plan: Plan, seed: int) -> ModelProto:
    """Return the float graph with noise as large as the plan's rounding, on all that it rounds."""
    noisy = ModelProto()
    noisy.CopyFrom(model)
    rng = np.random.default_rng(seed)
    tensors = {t.name: t for t in noisy.graph.initializer}
    for layer in plan.layers.values():
        weight = numpy_helper.to_array(tensors[layer.weight])
        shape = [1] * weight.ndim
        shape[layer.axis] = -1
        half = np.abs(layer.scale.reshape(shape) / layer.factor) / 2
        changed = weight + rng.uniform(-1, 1, weight.shape) * np.minimum(half, np.abs(weight).max())
        tensors[layer.weight].CopyFrom(
            numpy_helper.from_array(changed.astype(np.float32), layer.weight)
        )
    nodes: list[NodeProto] = []
    names = {name: f"{name} disturbed" for name in plan.tensors}
    gone = {node.name: node for node in noisy.graph.node if node.name in plan.absorbed}
    assert len(gone) == len(plan.absorbed)

    def disturb(name: str) -> None:
        if name in names:
            half = float(plan.tensors[name].scale) / 2
            ends: dict[str, Any] = {"low": -half, "high": half, "seed": float(rng.integers(1000))}
            noise = helper.make_node("RandomUniformLike", [name], [f"{name} noise"], **ends)
            nodes.extend([noise, helper.make_node("Add", [name, f"{name} noise"], [names[name]])])

    disturb("x")
    for node in noisy.graph.node:
        for inner in messages(node, NodeProto):
            inner.input[:] = [names.get(name, name) for name in inner.input]
        nodes.append(node)
        for name in node.output:
            disturb(name)
    del noisy.graph.node[:]
    noisy.graph.node.extend(nodes)
    for value in noisy.graph.output:
        value.name = names.get(value.name, value.name) if value.name in plan.rounded else value.name
    return noisy


def answers(model: ModelProto, arrays: Arrays, *, level: Any = Level.ORT_DISABLE_ALL) -> list[Any]:
    session = open_session(bytes(model.SerializeToString()), level=level)
    return run(session, [value.name for value in model.graph.output], arrays, name="random graph")


def rms(error: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(error.astype(np.float64)))))


def check_law(seed: int, folder: Path, *, fused: bool, layout: Layout = ONNX_RUNTIME) -> bool:
    """Return whether there was anything to quantize."""
    model, arrays = random_graph(seed)
    source, target = folder / "f.onnx", folder / "q.onnx"
    save_onnx(model, source)
    try:
        before = answers(model, arrays, level=Level.ORT_ENABLE_ALL)
    except ModelError:  # ONNX Runtime moves paddings into a pool that are too large for it
        return False
    one = [{"x": arrays["x"][i : i + 1], "flag": arrays["flag"]} for i in range(SAMPLES)]
    try:
        calibrated = calibrate(source, partial(iter, one), layout=layout)
        facts = write_int8(calibrated, target, layout=layout, accuracy=_PLAIN)
    except NothingToDo:
        return False
    float_answers = FloatAnswers(calibrated.model, calibrated.judged, name="f.onnx")
    plan = find_outcome(calibrated, float_answers, layout, accuracy=_PLAIN).trial.plan
    assert set(plan.layers) | set(plan.left) >= set(calibrated.choice.layers)
    quantized = load_onnx(target)
    check(quantized, "the quantized form")
    assert facts.layers == len(plan.layers) > 0
    assert [v.name for v in quantized.graph.output] == [v.name for v in model.graph.output]
    labels = [node.name for node in messages(quantized, NodeProto)]
    assert len(labels) == len(set(labels))
    written = [name for node in quantized.graph.node for name in node.output]
    written += [tensor.name for tensor in quantized.graph.initializer]
    assert len(written) == len(set(written))
    with pytest.raises(ModelError, match="already quantized"):
        prepare(quantized, "it")
    noises = [answers(disturbed(calibrated.model, plan, s), arrays) for s in range(3)]
    for level in (Level.ORT_DISABLE_ALL, *([Level.ORT_ENABLE_ALL] if fused else [])):
        after = answers(quantized, arrays, level=level)
        for i, (mine, other) in enumerate(zip(before, after, strict=True)):
            fit = np.isfinite(mine)
            assert np.isfinite(other[fit]).all()
            if not fit.any():
                continue
            allowed = max(rms(noise[i][fit] - mine[fit]) for noise in noises)
            error = rms(other[fit] - mine[fit])
            assert error <= _TIMES * allowed + 1e-4 * rms(mine[fit]), (seed, level, i)
    return True


@pytest.mark.parametrize("start", [0, 10, 20])
def test_thirty_graphs(start: int, saturates: bool, tmp_path: Path) -> None:
    done = [check_law(seed, tmp_path, fused=not saturates) for seed in range(start, start + 10)]
    assert sum(done) >= 5


@pytest.mark.slow
def test_many_graphs(saturates: bool, tmp_path: Path) -> None:
    done = [check_law(seed, tmp_path, fused=not saturates) for seed in range(1000, 1400)]
    assert sum(done) >= 200


@pytest.mark.parametrize("layout", [XNNPACK, TENSORRT], ids=lambda layout: layout.variant)
def test_other_layouts_obey_too(layout: Layout, saturates: bool, tmp_path: Path) -> None:
    seeds = range(2000, 2010)
    assert sum(check_law(s, tmp_path, fused=not saturates, layout=layout) for s in seeds) >= 5

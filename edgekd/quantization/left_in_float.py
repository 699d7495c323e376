"""Leave layers in float where a file would not follow the float one, if few of them do it.

Rounding errors of the layers add up in the outputs. Where most of the error comes from a layer
with a small part of the work, the file gets it right by leaving that layer as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isfinite, prod

from onnx import ModelProto, TensorProto, helper

from edgekd.errors import ModelError
from edgekd.exporters.ort_session import open_session, run
from edgekd.quantization.plan import Plan
from edgekd.quantization.proof import FloatAnswers, decibel

_WANTED_DB = 22.0
"""Of the worst output: the floor for files without labels is 20 dB, and the validation samples err
more than those seen here; 2 dB is 1.6 times the noise."""
_MOST_WORK = 0.35
"""Of the multiplications in INT8: where INT8 is three times as fast as float, a file with this much
in float is still 1.8 times as fast; with half of it in float the copies to and from INT8 may take
the rest of the gain."""
_MOST_LAYERS = 64
"""Each layer costs a run. In deeper networks the error of one is a small part."""
_AT_LEAST = 0.05
"""Of the work: layers below it cost next to no time in float, so that only their error counts, and
not which of them is the smallest."""

MakePlan = Callable[[Mapping[str, str]], Plan]
Insert = Callable[[Plan], ModelProto]


def leave_in_float(
    model: ModelProto, plan: Plan, answers: FloatAnswers, make: MakePlan, insert: Insert
) -> tuple[Plan, ModelProto]:
    """Return the plan, or one with a few layers less that follows as wanted, and its graph.

    Args:
        model: the float graph.
        plan: of it.
        answers: of the float graph.
        make: returns a plan in which tensors stay float: name, reason.
        insert: returns the graph of a plan.
    """

    def measure(graph: ModelProto) -> float:
        try:
            return max(answers.compare(graph).values(), default=0.0)
        except ModelError:
            return float("inf")

    quantized = insert(plan)
    noise = measure(quantized)
    if decibel(noise) >= _WANTED_DB or not 1 < len(plan.layers) <= _MOST_LAYERS:
        return plan, quantized
    outputs = {n.name: n.output[0] for n in model.graph.node if n.name in plan.layers}
    work = _count_work(model, plan, outputs, answers)
    reason = "with it in INT8 the file does not run, or gives NaN or infinity"
    if isfinite(noise):
        reason = (
            f"with it in INT8 the outputs follow the float file at {decibel(noise):.0f} dB only; "
            f"{_WANTED_DB:.0f} dB are wanted"
        )
    left_noise = {n: measure(insert(make({outputs[n]: reason}))) for n in outputs}
    saved = {n: noise - other for n, other in left_noise.items() if other < noise}
    left: dict[str, str] = {}
    share = 0.0
    for name in sorted(saved, key=lambda n: -saved[n] / max(work[n], _AT_LEAST)):
        if share + work[name] > _MOST_WORK:
            continue
        left[outputs[name]] = reason
        share += work[name]
        trial = make(left)
        if trial.layers and decibel(measure(graph := insert(trial))) >= _WANTED_DB:
            return trial, graph
    return plan, quantized


def _count_work(
    model: ModelProto, plan: Plan, outputs: Mapping[str, str], answers: FloatAnswers
) -> dict[str, float]:
    """Return the share of the multiplications that each layer of a plan has."""
    watched = ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    names = list(dict.fromkeys(outputs.values()))
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    session = open_session(bytes(watched.SerializeToString()), name=answers.name)
    found = run(session, names, dict(answers.samples[0]), name=answers.name)
    sizes = {name: array.size for name, array in zip(names, found, strict=True)}
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    counts = {
        name: sizes[outputs[name]] * prod(weights[layer.weight]) // len(layer.scale)
        for name, layer in plan.layers.items()
    }
    return {name: count / max(1, sum(counts.values())) for name, count in counts.items()}

"""The file that ONNX Runtime's profiler writes, as nodes."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekd.benchmarks.layers.nodes import Node, Tensor
from edgekd.benchmarks.operators import kind
from edgekd.errors import MeasureError

_ENDING = "_kernel_time"

Key = tuple[str, str]  # name and index: either alone may occur twice, in the body of a loop
Event = Mapping[str, Any]


def read_events(path: Path) -> tuple[dict[Key, Node], float, int]:
    """Return the nodes, the median seconds of a whole call, and the number of calls counted.

    The first call is left out. A node that runs several times in a call (in a loop) has the sum;
    a node that contains others has only its own part; one that a call does not reach took 0 s in
    it.

    Raises:
        MeasureError: there are not two calls in the file, or no nodes.
    """
    events: list[Event] = json.loads(path.read_text(encoding="utf8"))
    found = [e for e in events if e["cat"] == "Node" and e["name"].endswith(_ENDING)]
    runs = sorted((e for e in events if e["name"] == "model_run"), key=lambda e: e["ts"])
    if len(runs) < 2 or not found:
        raise MeasureError(
            f"ONNX Runtime's profile contains {len(runs)} calls and {len(found)} nodes; at least "
            "two calls and one node were expected: this build of onnxruntime may lack the profiler"
        )
    times = [_of_call(run, found) for run in runs[1:]]
    first = {_key(event): event for event in sorted(found, key=_start, reverse=True)}
    ordered = sorted(first.items(), key=lambda item: _start(item[1]))
    nodes = {
        key: _node(event, statistics.median(call.get(key, 0.0) for call in times))
        for key, event in ordered
    }
    call_s = statistics.median(run["dur"] for run in runs[1:]) / 1e6
    return nodes, call_s, len(times)


def _of_call(run: Event, events: Sequence[Event]) -> dict[Key, float]:
    """Return the seconds that each node itself took in one call."""
    inside = [e for e in events if run["ts"] <= e["ts"] <= run["ts"] + run["dur"]]
    microseconds: dict[Key, float] = defaultdict(float)
    around: list[Event] = []  # events that began before and have not ended
    for event in sorted(inside, key=_start):
        while around and around[-1]["ts"] + around[-1]["dur"] <= event["ts"]:
            around.pop()
        if around:
            microseconds[_key(around[-1])] -= event["dur"]
        microseconds[_key(event)] += event["dur"]
        around.append(event)
    return {key: max(0.0, value) / 1e6 for key, value in microseconds.items()}


def _start(event: Event) -> tuple[int, int]:
    return event["ts"], -event["dur"]


def _key(event: Event) -> Key:
    return event["name"], event["args"]["node_index"]


def _node(event: Event, time_s: float) -> Node:
    given = event["args"]
    inputs, outputs = _tensors(given["input_type_shape"]), _tensors(given["output_type_shape"])
    operator = given["op_name"]
    return Node(
        name=event["name"].removesuffix(_ENDING),
        operator=operator,
        kind=kind(operator, [t.type for t in inputs], [t.type for t in outputs]),
        time_s=time_s,
        provider=given["provider"],
        inputs=inputs,
        outputs=outputs,
        parameter_bytes=int(given["parameter_size"]),
    )


def _tensors(given: Sequence[Mapping[str, Sequence[int]]]) -> tuple[Tensor, ...]:
    return tuple(Tensor(type_, tuple(shape)) for tensor in given for type_, shape in tensor.items())

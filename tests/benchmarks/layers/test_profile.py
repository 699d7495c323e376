from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser
from rich.console import Console

from edgekd.benchmarks.children import Child, arguments_of
from edgekd.benchmarks.layers.events import read_events
from edgekd.benchmarks.layers.nodes import Profile
from edgekd.benchmarks.layers.profile import profile
from edgekd.benchmarks.layers.table import profile_table
from edgekd.benchmarks.layers.work import macs, size_bytes
from edgekd.benchmarks.measurement import Candidate, Setup
from edgekd.benchmarks.operators import KINDS, READS_PART, VIEWS
from edgekd.errors import BadInput, MeasureError


@pytest.fixture(scope="module")
def profiles(network: Any) -> dict[str, Profile]:
    return {name: profile(getattr(network, name)) for name in ("float32", "int8")}


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_all_the_work_is_found(name: str, network: Any, profiles: dict[str, Profile]) -> None:
    """The same products by hand and in either file, packed weights and all layouts included."""
    work = [macs(node) for node in profiles[name].nodes]
    assert None not in work
    assert sum(w or 0 for w in work) == network.macs


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_shares_are_of_the_whole(name: str, profiles: dict[str, Profile]) -> None:
    found = profiles[name]
    shares = [found.share(kind) for kind in KINDS]
    assert sum(share or 0 for share in shares) == pytest.approx(1)
    assert sum(found.share_of(node) or 0 for node in found.nodes) == pytest.approx(1)
    assert found.calls == 49  # the first is left out
    assert 0 < found.total_s <= (found.profiled_call_s or 0) * 1.05
    assert (found.call_s or 0) > 0
    assert found.runtime.startswith("onnxruntime 1.")
    assert Profile.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_what_runs_in_int8_is_told(profiles: dict[str, Profile]) -> None:
    assert profiles["float32"].share("int8") == 0
    assert profiles["float32"].share("qdq") == 0
    assert (profiles["int8"].share("int8") or 0) > 0.5
    assert (profiles["int8"].share("qdq") or 0) > 0
    assert (profiles["int8"].share("layout") or 0) > 0  # channels last, and back
    assert profiles["int8"].top(1)[0].operator == "QLinearConv"
    assert [node.time_s for node in profiles["int8"].top(3)] == sorted(
        (node.time_s for node in profiles["int8"].nodes), reverse=True
    )[:3]


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_bytes_are_those_that_onnxruntime_counts(name: str, network: Any, tmp_path: Path) -> None:
    options = ("--option", "session.disable_prepacking=1", "--profile", str(tmp_path))
    arguments = [*arguments_of(getattr(network, name)), *options]
    with Child(arguments, python=sys.executable, name="m", limit_s=60) as child:
        file = Path(child.answer()["profile"])
    nodes, _, _ = read_events(file)
    told = {e["args"]["node_index"]: e["args"] for e in json.loads(file.read_text()) if e["args"]}
    sizes = ("activation_size", "parameter_size", "output_size")
    for (_, index), node in nodes.items():
        if node.operator not in VIEWS | READS_PART:
            assert size_bytes(node) == sum(int(told[index][size]) for size in sizes), node


LOOP = """<ir_version: 8, opset_import: ["" : 17]>
loop (float[64, 64] x) => (float[64, 64] y) {
    count = Constant <value = int64 {5}> ()
    yes = Constant <value = bool {1}> ()
    start = Relu(x)
    y = Loop(count, yes, start) <body = body (int64 i, bool c, float[64, 64] before)
        => (bool again, float[64, 64] after) {
            again = Identity(c)
            product = MatMul(before, before)
            after = Tanh(product)
        }>
}"""


def test_the_body_of_a_loop_counts_once(tmp_path: Path) -> None:
    """Its nodes have the sum of all turns, and the loop itself only what is not theirs."""
    onnx.save(parser.parse_model(LOOP), tmp_path / "loop.onnx")
    np.savez(tmp_path / "x.npz", x=np.full((1, 64, 64), 0.01, dtype=np.float32))
    found = profile(Candidate(tmp_path / "loop.onnx", tmp_path / "x.npz"))
    assert {"Loop", "MatMul", "Tanh"} <= {node.operator for node in found.nodes}
    assert found.total_s <= (found.profiled_call_s or 0) * 1.05


def event(name: str, ts: int, dur: int, index: str = "0", operator: str = "Relu") -> dict[str, Any]:
    shapes = [{"float": [2, 3]}]
    told = {"op_name": operator, "provider": "CPU", "node_index": index, "parameter_size": "0"}
    args = {**told, "input_type_shape": shapes, "output_type_shape": shapes}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": args}


def run(ts: int, dur: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": ts, "dur": dur, "args": {}}


def test_times_of_events_by_hand(tmp_path: Path) -> None:
    """The first call is slow and not counted. Then a: 10, 30 and 20 us; the loop of 20 holds 2 x 6.

    An event that neither ends inside nor begins inside a call belongs to none.
    """
    file = tmp_path / "profile.json"
    events = [
        *(event("a", 0, 900), run(0, 1000)),
        *(event("a", 1000, 10), event("loop", 1010, 20, "1", "Loop"), event("b", 1012, 6, "0")),
        *(event("b", 1020, 6, "0"), run(1000, 40)),
        *(event("a", 2000, 30), run(2000, 30)),
        *(event("a", 3000, 20), event("loop", 3020, 20, "1", "Loop"), event("b", 3022, 6, "0")),
        *(event("b", 3030, 6, "0"), run(3000, 50)),
        event("a", 5000, 1000),
    ]
    file.write_text(json.dumps(events))
    nodes, call_s, calls = read_events(file)
    assert {node.name: node.time_s for node in nodes.values()} == pytest.approx(
        {"a": 20e-6, "loop": 8e-6, "b": 12e-6}
    )
    assert call_s == pytest.approx(40e-6)
    assert calls == 3


def test_a_profile_without_calls_is_no_profile(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    file.write_text(json.dumps([event("a", 0, 1), run(0, 2)]))
    with pytest.raises(MeasureError, match="1 calls and 1 nodes"):
        read_events(file)


def test_bad_input(network: Any, tmp_path: Path) -> None:
    float32 = network.float32
    with pytest.raises(BadInput, match="openvino"):
        profile(Candidate(float32.file, float32.feeds, Setup(runtime="openvino")))
    with pytest.raises(MeasureError, match="could not be run"):
        profile(Candidate(tmp_path / "no.onnx", float32.feeds))


def test_the_table_says_where_the_time_goes(profiles: dict[str, Profile]) -> None:
    console = Console(width=100, record=True)
    console.print(profile_table(profiles["int8"]))
    text = console.export_text()
    assert "QLinearConv" in text
    assert "Q/DQ" in text
    assert "without the profiler" in text

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.benchmarks.measurement import Candidate, Setup, Timing
from edgekd.benchmarks.runtimes import RUNTIMES, Runtime
from edgekd.benchmarks.trtexec.shapes import Shapes
from edgekd.devices import open_device
from edgekd.devices.device import Device
from edgekd.devices.engines import RunnerBuilder, keep_engine
from edgekd.errors import CandidateError
from edgekd.store import file_sha256

ENGINE = """
import functools
import onnxruntime

def build_file(arguments, feeds):
    with open(__file__ + ".options", "a") as options:
        options.write(" ".join(arguments.option) + "\\n")
    with open(__file__ + ".count", "a") as count:
        count.write("x")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = arguments.build
    onnxruntime.InferenceSession(arguments.model, options)

class Engine:
    def __init__(self, arguments, feeds):
        if not arguments.model.endswith(".optimized"):
            raise ValueError("was not built: " + arguments.model)
        self.version, self.feeds = "optimized 1", feeds
        with open(arguments.model, "rb") as file:
            self.session = onnxruntime.InferenceSession(file.read())

    def calls(self):
        return [functools.partial(self.session.run, None, feed) for feed in self.feeds]
"""


@pytest.fixture
def local() -> Device:
    return open_device("local")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A runtime that runs only what it built: ONNX Runtime's own optimised file."""
    path = tmp_path / "optimized_engine.py"
    path.write_text(ENGINE, encoding="utf8")
    known = Runtime(
        package="onnxruntime",
        module="onnxruntime",
        engine=str(path),
        suffixes=(".onnx",),
        install="",
        built=".optimized",
    )
    monkeypatch.setitem(RUNTIMES, "optimized", known)
    monkeypatch.setenv("EDGEKD_CACHE", str(tmp_path / "cache"))
    return path


@pytest.fixture
def candidate(tmp_path: Path) -> Callable[..., Candidate]:
    """A graph that adds `times` times, on [batch, 2]."""

    def make(name: str, *, times: int = 1, batch: int = 2) -> Candidate:
        names = ["x", *(f"y{i}" for i in range(times))]
        nodes = [helper.make_node("Add", [a, a], [b]) for a, b in pairwise(names)]
        ends = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 2])
            for n in (names[0], names[-1])
        ]
        graph = helper.make_graph(nodes, "adds", ends[:1], ends[1:])
        opset = helper.make_opsetid("", 18)
        onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / name)
        np.savez(tmp_path / f"{batch}.npz", x=np.ones((3, batch, 2), np.float32))
        return Candidate(tmp_path / name, tmp_path / f"{batch}.npz", Setup("optimized"))

    return make


def test_a_runtime_that_builds_nothing_runs_the_file_itself(
    local: Device, candidate: Callable[..., Candidate]
) -> None:
    for runtime in ("onnxruntime", "openvino"):
        asked = replace(candidate("a.onnx"), setup=Setup(runtime))
        assert local.prepare(asked) == asked.file


def test_an_engine_is_built_once_for_a_file_its_shapes_and_the_setup(
    local: Device, candidate: Callable[..., Candidate], engine: Path
) -> None:
    first = candidate("a.onnx")
    built = local.prepare(first)
    assert built.suffix == ".optimized"
    assert [node.op_type for node in onnx.load_from_string(built.read_bytes()).graph.node] == [
        "Add"
    ]
    again = Candidate(first.file.rename(first.file.with_name("b.onnx")), first.feeds, first.setup)
    assert local.prepare(again) == built
    others = [
        candidate("c.onnx", times=2),
        candidate("d.onnx", batch=3),
        replace(candidate("e.onnx"), setup=Setup("optimized", threads=2)),
    ]
    assert len({built, *map(local.prepare, others)}) == 4
    assert engine.with_name(engine.name + ".count").read_text() == "x" * 4


@pytest.mark.timing
def test_what_was_built_is_timed_under_the_name_of_its_file(
    local: Device, candidate: Callable[..., Candidate], engine: Path
) -> None:
    timing = Timing(rounds=2, blocks=1, block_s=1e-3, warmup_s=1e-3)
    one = candidate("a.onnx")
    session = local.measure([one], timing)
    (measured,) = session.measurements
    assert measured.file_sha256 == file_sha256(one.file)
    assert str(engine.parent) not in str(measured.conditions)


def test_what_cannot_be_built_is_named(
    local: Device, candidate: Callable[..., Candidate], engine: Path
) -> None:
    good, broken = candidate("a.onnx"), candidate("broken.onnx")
    model = onnx.load(broken.file)
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, broken.file)
    with pytest.raises(CandidateError, match=r"broken\.onnx could not be run") as caught:
        local.measure([good, broken], Timing())
    assert caught.value.index == 1


def test_ranges_of_shapes_reach_the_runtime_and_are_part_of_the_key(
    candidate: Callable[..., Candidate], engine: Path
) -> None:
    one = candidate("a.onnx")
    wide = {"x": Shapes(least=(1, 2), usual=(2, 2), most=(8, 2))}
    wider = {"x": Shapes(least=(1, 2), usual=(2, 2), most=(16, 2))}
    found = [keep_engine(RunnerBuilder(one, "here", shapes)) for shapes in ({}, wide, wider, wide)]
    assert len(set(found)) == 3
    assert found[1] == found[3]
    options = engine.with_name(engine.name + ".options").read_text().splitlines()
    assert options == [
        "",
        'ranges={"x": [[1, 2], [2, 2], [8, 2]]}',
        'ranges={"x": [[1, 2], [2, 2], [16, 2]]}',
    ]

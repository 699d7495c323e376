"""Which two files decide about a variant's speed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.measurement import Measurement, ProcessRun, Session, Setup, Timing
from edgekd.benchmarks.stats import Estimate
from edgekd.devices.local import LocalDevice
from edgekd.evaluation.evidence import File
from edgekd.evaluation.speed import Pair, compare_speed


def write_file(path: Path, nodes: int) -> Path:
    """Write a graph of so many nodes, so that no two are equal."""
    names = ["x", *(f"x{i}" for i in range(1, nodes)), "y"]
    made = [helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph(made, path.stem, ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def measured(path: Path, seconds: float) -> Measurement:
    blocks = ((seconds,) * 4,) * 2
    runs = tuple(
        ProcessRun(round=n, load_s=0.1, first_s=0.1, blocks_s=blocks, peak_memory_bytes=1)
        for n in range(3)
    )
    return Measurement("one session", path.name, LocalDevice().conditions(Setup()), runs)


@pytest.fixture
def files(tmp_path: Path) -> Mapping[str, File]:
    """The FP32 file of a stage before; FP32, INT8 and a preview of the stage after it."""
    kinds: dict[str, tuple[Variant, bool]] = {
        "before": (FP32, False),
        "fp32": (FP32, False),
        "int8": ("int8", False),
        "preview": ("int8", True),
    }
    return {
        name: File(write_file(tmp_path / f"{name}.onnx", nodes), *kind)
        for nodes, (name, kind) in enumerate(kinds.items(), 1)
    }


def test_a_network_is_judged_by_its_fastest_file_and_a_variant_against_fp32(
    files: Mapping[str, File],
) -> None:
    seconds = {"before": 1.0, "fp32": 0.8, "int8": 2.0, "preview": 0.5}
    timed = {name: measured(files[name].path, seconds[name]) for name in files}
    session = Session(tuple(timed.values()), twin=timed["before"], timing=Timing())
    found = compare_speed(
        session,
        [file.path for file in files.values()],
        [FP32, "int8"],
        after=[files["fp32"], files["int8"], files["preview"]],
        before=[files["before"]],
    )
    network, variant = found.pairs[FP32], found.pairs["int8"]
    assert (network.after, network.before) == (files["preview"], files["before"])
    assert (variant.after, variant.before) == (files["int8"], files["before"])
    assert network.speedup is not None
    assert network.speedup.value == pytest.approx(2.0)
    assert variant.speedup is not None
    assert variant.speedup.value == pytest.approx(0.5)
    assert not found.doubtful


@pytest.mark.parametrize(
    ("low", "high", "steady", "decided"),
    [
        (1.01, 1.50, True, True),  # a gain
        (0.60, 0.99, True, True),  # a loss
        (0.90, 1.02, True, True),  # neither is shown, and no gain of 3 % can be left
        (0.99, 1.04, True, False),  # one can
        (1.01, 1.50, False, False),
        (0.90, 1.02, False, False),
    ],
)
def test_what_ends_a_session(
    files: Mapping[str, File], low: float, high: float, steady: bool, decided: bool
) -> None:
    speedup = Estimate((low + high) / 2, low, high, n=3)
    pair = Pair(after=files["int8"], before=files["before"], speedup=speedup, steady=steady)
    assert pair.decided is decided

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.benchmarks.measurement import Candidate, Setup, Timing
from edgekd.devices import DEVICES, open_device
from edgekd.devices.device import Device
from edgekd.errors import MeasureError, ModelError, RecipeError


@pytest.fixture
def local() -> Device:
    return open_device("local")


@pytest.fixture
def double(tmp_path: Path) -> Candidate:
    """A graph y = x + x on [batch, 2], with three calls."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])
    y = helper.make_tensor_value_info("allow_pickle", TensorProto.FLOAT, ["batch", 2])
    nodes = [helper.make_node("Add", ["x", "x"], ["allow_pickle"])]
    graph = helper.make_graph(nodes, "double", [x], [y])
    opset = helper.make_opsetid("", 18)
    onnx.save(
        helper.make_model(graph, opset_imports=[opset], ir_version=10), tmp_path / "double.onnx"
    )
    np.savez(tmp_path / "x.npz", x=np.arange(12, dtype=np.float32).reshape(3, 2, 2))
    return Candidate(tmp_path / "double.onnx", tmp_path / "x.npz")


def test_an_unknown_device_is_told_the_known() -> None:
    with pytest.raises(RecipeError, match="'jetson' is unknown; known: local"):
        open_device("jetson")
    assert set(DEVICES) == {"local"}


def test_local_says_who_it_is(local: Device) -> None:
    c = local.conditions(Setup(threads=2))
    assert (c.device, c.threads, c.emulated) == ("local", 2, False)
    assert c.cpu
    assert c.runtime.startswith("onnxruntime 1.")
    assert c.provider == "CPUExecutionProvider"
    assert c == local.conditions(Setup(threads=2))
    assert c != local.conditions(Setup(threads=1))


def test_the_fingerprint_is_of_machine_and_setup(local: Device) -> None:
    assert local.fingerprint(Setup()) == local.fingerprint(Setup())
    setups = (Setup(), Setup(threads=2), Setup(streams=2), Setup(options=(("a", "b"),)))
    assert len({local.fingerprint(setup) for setup in setups}) == len(setups)


def test_run_gives_the_outputs_calls_first(local: Device, double: Candidate) -> None:
    outputs = local.run(double.file, double.feeds)
    wanted = 2 * np.arange(12, dtype=np.float32).reshape(3, 2, 2)
    assert list(outputs) == ["allow_pickle"]
    np.testing.assert_array_equal(outputs["allow_pickle"], wanted)


def test_run_says_what_is_wrong(local: Device, double: Candidate, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        local.run(tmp_path / "nowhere.onnx", double.feeds)
    double.file.write_bytes(b"no model")
    with pytest.raises(MeasureError, match=r"double.onnx could not be run"):
        local.run(double.file, double.feeds)


@pytest.mark.timing
def test_measure_is_one_session_under_its_conditions(local: Device, double: Candidate) -> None:
    timing = Timing(rounds=3, blocks=3, block_s=0.001, warmup_s=0.001)
    session = local.measure([double], timing)
    assert session.measurements[0].conditions == local.conditions(Setup())
    assert len(session.measurements[0].runs) == 3

from __future__ import annotations

import ast
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgekd.benchmarks import conductor
from edgekd.benchmarks.children import RUNNER, Child
from edgekd.benchmarks.runner import windows_peak_bytes
from edgekd.errors import MeasureError


def open_child(*arguments: object, python: str = sys.executable, limit_s: float = 60.0) -> Child:
    texts = [str(argument) for argument in arguments]
    return Child(texts, python=python, name="the model", limit_s=limit_s)


@pytest.fixture
def feeds(tmp_path: Path) -> Path:
    path = tmp_path / "feeds.npz"
    np.savez(path, x=np.random.default_rng(0).standard_normal((3, 8, 128), dtype=np.float32))
    return path


@pytest.fixture
def fake_python(tmp_path: Path) -> Callable[[str], str]:
    """An interpreter that runs a line of shell whatever it is asked to do."""

    def write(line: str) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf8")
        path.chmod(0o755)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("path", "needs"),
    [(RUNNER, {"numpy", "onnxruntime"}), (Path(conductor.__file__), set())],
    ids=["runner", "conductor"],
)
def test_an_old_python_can_read_it(path: Path, needs: set[str]) -> None:
    tree = ast.parse(path.read_text(encoding="utf8"), feature_version=(3, 8))
    modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    modules |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    foreign = {name.split(".")[0] for name in modules} - set(sys.stdlib_module_names)
    assert foreign == needs


@pytest.mark.timing
def test_it_works_when_asked_and_only_then(chain: Callable[..., Path], feeds: Path) -> None:
    with open_child(chain("m.onnx"), feeds) as child:
        assert child.ask(ready=True) == {"ready": True}
        before = child.ask(sample=True)["sample"]
        start = child.ask(load=True)
        assert start["runtime"].startswith("onnxruntime 1.")
        assert start["load_s"] > 0
        assert start["first_s"] > 0
        assert 0 < start["harness_s"] < 1e-5
        assert len(child.ask(warm=0.02)["warm_s"]) >= 2
        answer = child.ask(run=0.02)
        assert len(answer["block_s"]) >= 2
        assert 0 < sum(answer["block_s"]) <= answer["elapsed_s"] < 1
        assert 0 < answer["cpu_s"] < 1
        after = answer["sample"]
        assert after["at_s"] > before["at_s"]
        assert after["own_s"] > before["own_s"]
        assert len(child.ask(run=1e-9)["block_s"]) == 2
        parts = child.ask(parts=0.01)["parts_s"]
        assert list(parts) == ["copy_in", "engine", "copy_out"]
        assert all(len(seconds) >= 2 for seconds in parts.values())
        peak = child.ask(quit=True)["peak_memory_bytes"]
        assert 10e6 < peak < 1e9


@pytest.mark.timing
def test_streams_share_the_calls_of_a_block(chain: Callable[..., Path], feeds: Path) -> None:
    with open_child(chain("m.onnx"), feeds, "--streams", 2) as child:
        child.ask(ready=True)
        child.ask(load=True)
        child.ask(warm=0.02)
        answer = child.ask(run=0.02)
        assert len(answer["block_s"]) % 2 == 0
        # Two streams at once: their seconds add up to more than the wall clock, or nearly so.
        assert sum(answer["block_s"]) > 0.5 * answer["elapsed_s"]


def test_outputs_are_those_of_the_graph(
    chain: Callable[..., Path], feeds: Path, tmp_path: Path
) -> None:
    from onnx import load, numpy_helper

    model = chain("m.onnx")
    with open_child(model, feeds, "--outputs", tmp_path / "out.npz") as child:
        assert child.answer() == {"outputs": ["r1"]}
    wanted = np.load(feeds)["x"]
    for weight in load(model).graph.initializer:
        wanted = np.maximum(wanted @ numpy_helper.to_array(weight), 0)
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["arr_0"], wanted, atol=1e-5)


def test_a_scalar_input_stays_a_scalar(echo: Callable[..., Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x=np.array([1.0, 2.0], np.float32))
    with open_child(echo(x=(1, [])), tmp_path / "f.npz", "--outputs", tmp_path / "o.npz") as child:
        child.ask(ready=True)
    np.testing.assert_array_equal(np.load(tmp_path / "o.npz")["arr_0"], [1, 2])


def test_a_pickle_is_not_opened(chain: Callable[..., Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x=np.array([{"a": 1}], object))
    told = pytest.raises(MeasureError, match="allow_pickle")
    with open_child(chain("m.onnx"), tmp_path / "f.npz") as child, told:
        child.ask(ready=True)


def test_what_the_runtime_refuses_is_told(chain: Callable[..., Path], feeds: Path) -> None:
    with open_child(chain("m.onnx", width=64), feeds) as child:
        child.ask(ready=True)
        with pytest.raises(MeasureError, match=r"the model could not be run: .*dimensions"):
            child.ask(load=True)
    with open_child(chain("m.onnx"), feeds, "--provider", "NoSuchProvider") as child:
        child.ask(ready=True)
        with pytest.raises(
            MeasureError, match=r"not have the provider NoSuchProvider; it has .*CPU"
        ):
            child.ask(load=True)


def test_a_crash_is_told_with_its_last_words(fake_python: Callable[[str], str]) -> None:
    with (
        open_child(python=fake_python("echo out of luck >&2; exit 7")) as child,
        pytest.raises(MeasureError, match=r"the model ended with exit code 7.*\n.*out of luck"),
    ):
        child.ask(load=True)


def test_a_kill_is_a_crash(chain: Callable[..., Path], feeds: Path) -> None:
    with open_child(chain("m.onnx"), feeds) as child:
        child.ask(ready=True)
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(MeasureError, match="exit code -9"):
            child.ask(load=True)


def test_a_child_that_hangs_is_given_up_and_ended(fake_python: Callable[[str], str]) -> None:
    told = pytest.raises(MeasureError, match="did not answer")
    with open_child(python=fake_python("exec sleep 60"), limit_s=0.2) as child, told:
        child.ask(ready=True)
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_chatter_is_no_answer(fake_python: Callable[[str], str]) -> None:
    told = pytest.raises(MeasureError, match=r"hello.*not JSON")
    with open_child(python=fake_python("echo hello")) as child, told:
        child.ask(ready=True)


def test_an_interpreter_that_is_not_there() -> None:
    told = pytest.raises(MeasureError, match="/no/python could not be started")
    with told, open_child(python="/no/python"):
        pass


def test_the_peak_on_windows_is_read_where_its_structure_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PROCESS_MEMORY_COUNTERS as Windows documents it; only the reading is tested here."""

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", ctypes.c_uint32),
            ("page_faults", ctypes.c_uint32),
            ("peak_working_set", ctypes.c_size_t),
            ("others", ctypes.c_size_t * 7),
        )

    class Kernel:
        GetCurrentProcess = ctypes.CFUNCTYPE(ctypes.c_void_p)(lambda: 1)

        @staticmethod
        def K32GetProcessMemoryInfo(process: Any, to: Any, size: int) -> None:
            assert size == ctypes.sizeof(Counters)
            ctypes.memmove(to, ctypes.byref(Counters(size, 7, 12_345_678)), size)

    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=Kernel), raising=False)
    assert windows_peak_bytes() == 12_345_678

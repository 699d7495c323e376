from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgekd.benchmarks.runtimes import RUNTIMES, engine_of, missing, torch_engine, version
from edgekd.errors import MeasureError

Ask = Callable[..., Any]

INSTALLED = [
    pytest.param("openvino"),
    pytest.param("torch", marks=pytest.mark.slow),
    pytest.param("torch-compiled", marks=pytest.mark.slow),  # compiling takes half a minute
]


def close(found: Sequence[Any], wanted: Sequence[Any]) -> bool:
    """Equal to 1e-5 of the largest value: float32 sums in another order."""
    scale = max(float(np.abs(w).max()) for w in wanted)
    return all(
        np.allclose(np.asarray(f), w, rtol=0, atol=1e-5 * scale)
        for f, w in zip(found, wanted, strict=True)
    )


def model_of(runtime: str, files: Any) -> Path:
    path: Path = files.pt2 if ".pt2" in RUNTIMES[runtime].suffixes else files.onnx
    return path


@pytest.mark.parametrize("runtime", INSTALLED)
def test_every_runtime_computes_what_onnxruntime_does(runtime: str, files: Any, run: Ask) -> None:
    assert missing(runtime) == ""
    first, second = files.wanted
    assert not close([first], [second])  # so that a swapped or stale output cannot pass
    assert close(list(run(runtime, model_of(runtime, files), files.feeds)), files.wanted)


@pytest.mark.parametrize(
    ("runtime", "streams"),
    [
        ("openvino", 1),
        ("openvino", 2),
        ("torch", 1),
        pytest.param("torch", 2, marks=pytest.mark.slow),
        pytest.param("torch-compiled", 1, marks=pytest.mark.slow),
        pytest.param("torch-compiled", 2, marks=pytest.mark.slow),
    ],
)
def test_a_timed_call_runs_the_model_on_its_own_feed(
    runtime: str, streams: int, files: Any, probe: Ask
) -> None:
    model = model_of(runtime, files)
    found, outputs, parts, told, names = probe(runtime, model, files.feeds, streams=streams)
    assert close(found, files.wanted * streams)
    assert close(outputs, files.wanted)
    assert set(parts) == {"copy_in", "engine", "copy_out"}
    assert all(0 <= seconds < 10 for seconds in parts.values())
    assert told.split("+")[0].endswith(version(runtime).split()[1].split("+")[0])
    assert len(names) == 1


@pytest.mark.timing
@pytest.mark.parametrize(("runtime", "streams"), [("openvino", 1), ("torch", 2)])
def test_the_runner_times_it(runtime: str, streams: int, files: Any, open_child: Ask) -> None:
    arguments = (runtime, model_of(runtime, files), files.feeds, "--streams", streams)
    with open_child(*arguments) as child:
        child.ask(ready=True)
        start = child.ask(load=True)
        assert start["runtime"].startswith(runtime.split("-")[0])
        assert start["load_s"] > 0
        child.ask(warm=0.01)
        times = child.ask(run=0.01)["block_s"]
        assert 1e-6 < np.median(times) < 0.1
        assert set(child.ask(parts=0.01)["parts_s"]) == {"copy_in", "engine", "copy_out"}


def test_compiling_is_passed_through(files: Any, probe: Ask) -> None:
    """Without the compiler's half minute: a back end that captures the graph and runs it as is."""
    options = ["backend=aot_eager", "fullgraph=true"]
    found, *_ = probe("torch-compiled", files.pt2, files.feeds, option=options)
    assert close(found, files.wanted)


@pytest.mark.gpu
@pytest.mark.skipif(missing("tensorrt") != "", reason=missing("tensorrt"))
def test_tensorrt_computes_what_onnxruntime_does(
    files: Any, tmp_path: Path, run: Ask, open_child: Ask
) -> None:
    with open_child("tensorrt", files.onnx, files.feeds, "--build", tmp_path / "net.plan") as child:
        child.answer()
    for model in (files.onnx, tmp_path / "net.plan"):
        assert close(list(run("tensorrt", model, files.feeds)), files.wanted)
    with open_child("tensorrt", files.onnx, files.feeds, "--streams", 2) as child:
        child.ask(ready=True)
        assert child.ask(load=True)["runtime"].startswith("tensorrt ")
        assert len(child.ask(run=0.01)["block_s"]) >= 3
        assert set(child.ask(parts=0.01)["parts_s"]) == {"copy_in", "engine", "copy_out"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no CUDA device")
def test_torch_computes_the_same_on_a_gpu(files: Any, run: Ask) -> None:
    found = run("torch", files.pt2, files.feeds, "--provider", "cuda")
    assert close(list(found), files.wanted)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--provider", "NPU9"), "no device NPU9; it has .*CPU"),
        (("--option", "NO_SUCH=1"), "NO_SUCH"),
    ],
)
def test_what_openvino_cannot_do_is_told(
    arguments: tuple[str, str], told: str, files: Any, open_child: Ask
) -> None:
    with open_child("openvino", files.onnx, files.feeds, *arguments) as child:
        child.ask(ready=True)
        with pytest.raises(MeasureError, match=told):
            child.ask(load=True)


def test_options_of_torch_are_those_of_compile() -> None:
    pairs = ["backend=eager", "fullgraph=true", "dynamic=false"]
    wanted = {"backend": "eager", "fullgraph": True, "dynamic": False}
    assert torch_engine.compile_options(pairs, compiled=True) == wanted
    with pytest.raises(ValueError, match="no option 'level' here; known are: backend, mode"):
        torch_engine.compile_options(["level=9"], compiled=True)
    with pytest.raises(ValueError, match="no option 'mode' here; known are: none"):
        torch_engine.compile_options(["mode=default"], compiled=False)


@pytest.mark.parametrize("runtime", ["openvino", pytest.param("torch", marks=pytest.mark.slow)])
def test_feeds_of_other_names_are_refused(
    runtime: str, files: Any, tmp_path: Path, open_child: Ask
) -> None:
    np.savez(tmp_path / "feeds.npz", z=np.zeros((1, 1, 3, 8, 8), np.float32))
    with open_child(runtime, model_of(runtime, files), tmp_path / "feeds.npz") as child:
        child.ask(ready=True)
        with pytest.raises(MeasureError, match=r"inputs are \['x'\], got \['z'\]"):
            child.ask(load=True)


@pytest.fixture
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's setting for the loader ends with the test."""
    monkeypatch.setenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "0")


@pytest.mark.usefixtures("own_environment")
def test_a_program_in_training_mode_is_refused(network: nn.Module, tmp_path: Path) -> None:
    program = torch.export.export(network, (torch.zeros(1, 3, 8, 8),))
    torch.export.save(program, tmp_path / "training.pt2")
    with pytest.raises(ValueError, match=r"in training mode \(aten.dropout.*call eval\(\)"):
        torch_engine.flat_module(str(tmp_path / "training.pt2"), "cpu")


class InPlace(nn.Module):
    """Writes into its input and into what it has computed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu(x.add_(1) * 2 - 1, inplace=True)
        return torch.softmax(y.flatten(1), dim=1).max(dim=1).values


@pytest.mark.usefixtures("own_environment")
def test_eager_calls_what_modules_call(network: nn.Module, tmp_path: Path) -> None:
    """Through aten's overloads each operator would take 5 microseconds more."""
    x = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    for module, left in ((network.eval(), set()), (InPlace(), {"aten.max.dim"})):
        wanted = module(x.clone())
        path = str(tmp_path / "net.pt2")
        torch.export.save(torch.export.export(module, (x.clone(),)), path)
        flat, _, _ = torch_engine.flat_module(path, "cpu")
        given = x.clone()
        fast = torch_engine.direct(flat, [given])
        assert torch.equal(given, x)
        assert torch.equal(fast(given)[0], wanted)
        targets = [n.target for n in fast.graph.nodes if n.op == "call_function"]
        assert {str(t) for t in targets if str(t).startswith("aten.")} == left  # gives two tensors


class Trap:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.usefixtures("own_environment")
def test_a_pickle_in_a_program_runs_no_code(files: Any, tmp_path: Path) -> None:
    torch.save(Trap(tmp_path / "sprung"), tmp_path / "trap.pt")
    with zipfile.ZipFile(files.pt2) as old, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as new:
        for name in old.namelist():
            is_sample = name.endswith("sample_inputs/model.pt")
            content = (tmp_path / "trap.pt").read_bytes() if is_sample else old.read(name)
            new.writestr(name, content)
    with pytest.raises(Exception, match=r"weights_only|WeightsUnpickler"):
        torch_engine.flat_module(str(tmp_path / "bad.pt2"), "cpu")
    assert not (tmp_path / "sprung").exists()


def test_openvino_cannot_load_what_sends_its_usage(tmp_path: Path) -> None:
    """A package of that name, installed, is not imported by the engine's process."""
    (tmp_path / "openvino_telemetry.py").write_text("raise SystemExit('was loaded')\n")
    engine = engine_of("openvino")
    assert engine is not None
    script = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(engine.parent)!r}]\n"
        "import openvino_engine; openvino_engine.import_openvino()\n"
        "from openvino.tools.ovc import telemetry_utils\n"
        "print(telemetry_utils.tm.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub", done.stderr


@pytest.mark.parametrize("runtime", [name for name in RUNTIMES if engine_of(name)])
def test_an_engine_stands_alone(runtime: str) -> None:
    """It is copied beside the runner: it needs its package and nothing else, and hides no one."""
    path = engine_of(runtime)
    assert path is not None
    assert path.stem not in {r.module for r in RUNTIMES.values()} | set(sys.stdlib_module_names)
    tree = ast.parse(path.read_text(encoding="utf8"), feature_version=(3, 8))
    modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    modules |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    foreign = {name.split(".")[0] for name in modules} - set(sys.stdlib_module_names)
    assert foreign <= {"numpy", RUNTIMES[runtime].module}
    at_top = {a.name for n in tree.body if isinstance(n, ast.Import) for a in n.names}
    assert RUNTIMES[runtime].module not in at_top

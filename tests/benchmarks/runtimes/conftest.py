"""One tiny network in every form that a runtime takes, and a probe of engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edgekd.benchmarks.children import Child
from edgekd.benchmarks.runtimes import engine_of

Outputs = list[NDArray[np.float32]]  # the network has one output; one array per feed


class Network(nn.Module):
    """Convolution, ReLU, product: [1, 3, 8, 8] to [1, 5]."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.kernel = nn.Parameter(torch.randn(4, 3, 3, 3, generator=generator))
        self.weight = nn.Parameter(torch.randn(144, 5, generator=generator))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        maps = torch.relu(torch.conv2d(x, self.kernel))
        dropped: Tensor = self.dropout(maps.flatten(1) @ self.weight)
        return dropped


@dataclass(frozen=True)
class Files:
    onnx: Path
    pt2: Path
    feeds: Path
    wanted: Outputs


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("runtimes")
    network = Network().eval()
    x = np.random.default_rng(0).standard_normal((2, 1, 3, 8, 8), dtype=np.float32)
    np.savez(folder / "feeds.npz", x=x)
    onnx.save(_graph(network), folder / "net.onnx")
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 8, 8),)), folder / "net.pt2")
    found = Files(folder / "net.onnx", folder / "net.pt2", folder / "feeds.npz", [])
    found.wanted.extend(_run("onnxruntime", found.onnx, found.feeds))
    return found


def _graph(network: Network) -> onnx.ModelProto:
    weights = {"kernel": network.kernel, "weight": network.weight}
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("MatMul", ["f", "weight"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(w.detach().numpy(), name) for name, w in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _open_child(runtime: str, model: Path, feeds: Path, *more: object) -> Child:
    engine = engine_of(runtime)
    texts = [str(model), str(feeds), "--engine", str(engine or ""), *map(str, more)]
    return Child(texts, python=sys.executable, name="the model", limit_s=120.0)


def _run(runtime: str, model: Path, feeds: Path, *more: object) -> Outputs:
    """The outputs that the runner writes."""
    stored = feeds.with_name(f"outputs-{runtime}.npz")
    with _open_child(runtime, model, feeds, "--outputs", stored, *more) as child:
        (name,) = child.answer()["outputs"]
    assert name
    with np.load(stored, allow_pickle=False) as file:
        return list(file["arr_0"])


PROBE = """
import argparse, importlib.util, json, sys
import numpy as np
arguments = argparse.Namespace(**json.loads(sys.argv[1]))
with np.load(arguments.feeds) as file:
    feeds = [{"x": x} for x in file["x"]]
spec = importlib.util.spec_from_file_location("loaded", arguments.engine)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
engine = module.Engine(arguments, feeds)
found = []
for stream in [engine.calls() for _ in range(arguments.streams)]:
    for call in stream:
        result = call()
        arrays = list(result.values()) if hasattr(result, "values") else list(result)
        found.append(np.array(arrays[0]).tolist())
outputs = [[array.tolist() for array in engine.outputs(feed).values()][0] for feed in feeds]
print(json.dumps([found, outputs, engine.parts(0), engine.version, engine.names]))
"""


@pytest.fixture
def probe() -> Callable[..., tuple[Any, ...]]:
    """What timed calls return, outputs, parts, version and names, from a process of its own.

    An engine changes its process: threads of PyTorch, inference mode.
    """

    def ask(runtime: str, model: Path, feeds: Path, **options: Any) -> tuple[Any, ...]:
        arguments = {
            **{"model": str(model), "feeds": str(feeds), "engine": str(engine_of(runtime))},
            **{"threads": 1, "streams": 1, "provider": "", "option": []},
            **options,
        }
        words = [sys.executable, "-c", PROBE, json.dumps(arguments)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return tuple(json.loads(done.stdout.splitlines()[-1]))

    return ask


@pytest.fixture
def open_child() -> Callable[..., Child]:
    return _open_child


@pytest.fixture
def run() -> Callable[..., Outputs]:
    return _run


@pytest.fixture
def network() -> nn.Module:
    """In training mode."""
    return Network()

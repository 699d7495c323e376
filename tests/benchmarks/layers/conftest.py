"""A tiny network whose work is known by hand, as float and as INT8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgekd.benchmarks.measurement import Candidate
from edgekd.quantization.static import quantize_int8

CONV = 32 * 32 * 32 * 16 * 9  # outputs times what each sums over
DEPTHWISE = 32 * 16 * 16 * 9
PRODUCT = 32 * 10


@dataclass(frozen=True)
class Network:
    float32: Candidate
    int8: Candidate
    macs: int = CONV + DEPTHWISE + PRODUCT


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("layers")
    generator = np.random.default_rng(0)
    shapes = {"a": (32, 16, 3, 3), "b": (32, 1, 3, 3), "c": (32, 10)}
    weights = [
        numpy_helper.from_array(generator.standard_normal(shape, dtype=np.float32) / 9, name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["1"], pads=[1] * 4),
        helper.make_node("Relu", ["1"], ["2"]),
        helper.make_node("Conv", ["2", "b"], ["3"], pads=[1] * 4, strides=[2, 2], group=32),
        helper.make_node("GlobalAveragePool", ["3"], ["4"]),
        helper.make_node("Flatten", ["4"], ["5"]),
        helper.make_node("MatMul", ["5", "c"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", 1, ["batch", 16, 32, 32])
    y = helper.make_tensor_value_info("y", 1, ["batch", 10])
    graph = helper.make_graph(nodes, "network", [x], [y], weights)
    opset = helper.make_opsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), folder / "f.onnx")
    samples = generator.standard_normal((2, 1, 16, 32, 32), dtype=np.float32)
    np.savez(folder / "feeds.npz", x=samples)

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for sample in samples:
            yield {"x": sample}

    quantize_int8(folder / "f.onnx", folder / "q.onnx", batches)
    feeds = folder / "feeds.npz"
    return Network(Candidate(folder / "f.onnx", feeds), Candidate(folder / "q.onnx", feeds))

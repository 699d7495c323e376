"""Tiny real ONNX files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgekd.benchmarks.measurement import Conditions

Save = Callable[..., Path]


@pytest.fixture
def conditions() -> Conditions:
    return Conditions(
        device="local",
        cpu="test",
        runtime="onnxruntime",
        provider="CPUExecutionProvider",
        threads=1,
        os="test",
        python="3",
        governor=None,
        emulated=False,
    )


@pytest.fixture
def chain(tmp_path: Path) -> Save:
    """Write x -> MatMul+Relu, `layers` times; `label` changes the bytes and nothing else."""

    def save(name: str, *, layers: int = 2, width: int = 128, label: str = "") -> Path:
        generator = np.random.default_rng(0)
        nodes, weights, last = [], [], "x"
        for i in range(layers):
            weight = generator.standard_normal((width, width)) / np.sqrt(width)
            weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{i}"))
            nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]))
            nodes.append(helper.make_node("Relu", [f"m{i}"], [f"r{i}"]))
            last = f"r{i}"
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [8, width])
        y = helper.make_tensor_value_info(last, TensorProto.FLOAT, [8, width])
        return store(tmp_path / name, nodes, [x], [y], weights, label)

    return save


@pytest.fixture
def echo(tmp_path: Path) -> Save:
    """Write a graph that hands its inputs, name -> (ONNX type, shape), on as float."""

    def save(name: str = "echo.onnx", **inputs: tuple[int, list[Any]]) -> Path:
        kinds = inputs.items()
        given = [helper.make_tensor_value_info(k, kind, shape) for k, (kind, shape) in kinds]
        nodes = [helper.make_node("Cast", [k], [f"{k}_out"], to=1) for k in inputs]
        outputs = [
            helper.make_tensor_value_info(f"{k}_out", TensorProto.FLOAT, shape)
            for k, (_, shape) in kinds
        ]
        return store(tmp_path / name, nodes, given, outputs, [], "")

    return save


def store(
    path: Path,
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    weights: list[Any],
    label: str,
) -> Path:
    graph = helper.make_graph(nodes, "test", inputs, outputs, weights)
    opset = helper.make_opsetid("", 18)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10, doc_string=label)
    onnx.save(model, path)
    return path

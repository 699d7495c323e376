"""Small ONNX files with a known amount of work, written on the fly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS = 16


def chain(path: Path, *, layers: int, width: int = 128, rows: int = ROWS, label: str = "") -> Path:
    """Write x [rows, width] -> `layers` times MatMul and Relu; each layer is the same work.

    Args:
        path: where.
        layers: how many; 100 of width 128 take one to two milliseconds on a core of today.
        width: of every layer.
        rows: of the input; more of them are more arithmetic for the same weights.
        label: changes the bytes of the file and nothing else.
    """
    generator = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for i in range(layers):
        weight = generator.standard_normal((width, width)) * np.sqrt(2 / width)
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"m{i}"]))
        nodes.append(helper.make_node("Relu", [f"m{i}"], [f"r{i}"]))
        last = f"r{i}"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, width])
    y = helper.make_tensor_value_info(last, TensorProto.FLOAT, [rows, width])
    graph = helper.make_graph(nodes, "chain", [x], [y], weights)
    opset = helper.make_opsetid("", 18)
    onnx.save(
        helper.make_model(graph, opset_imports=[opset], ir_version=10, doc_string=label), path
    )
    return path


def convolutions(
    path: Path, *, layers: int, channels: int = 32, size: int = 28, label: str = ""
) -> Path:
    """Write x [1, channels, size, size] -> `layers` times a 3 x 3 convolution and ReLU.

    Args:
        path: where.
        layers: how many; one of the default shape takes 0.2 milliseconds on a core of today.
        channels: of every layer.
        size: height and width.
        label: changes the bytes of the file and nothing else.
    """
    generator = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for i in range(layers):
        weight = generator.standard_normal((channels, channels, 3, 3)) * np.sqrt(2 / 9 / channels)
        weights.append(numpy_helper.from_array(weight.astype(np.float32), f"w{i}"))
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"m{i}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"m{i}"], [f"r{i}"]))
        last = f"r{i}"
    shape = [1, channels, size, size]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "convolutions", [x], [y], weights)
    opset = helper.make_opsetid("", 18)
    onnx.save(
        helper.make_model(graph, opset_imports=[opset], ir_version=10, doc_string=label), path
    )
    return path

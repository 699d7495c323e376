"""Large matrix products as ONNX files, to measure the peak rate of a runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

SIDE = 512  # of the matrices: a product takes milliseconds, and its weights stay in the cache
CHANNELS, PIXELS, KERNEL = 128, 28, 3


@dataclass(frozen=True)
class Workload:
    """One file and its inputs."""

    file: Path
    feeds: Path
    macs: int  # multiply-accumulates of one call


def write(folder: Path, operator: str, *, threads: int = 1, side: int = SIDE) -> Workload:
    """Write the file and the inputs of one product with constant weights, random values.

    Args:
        folder: takes both files.
        operator: a key of `OPERATORS`.
        threads: the work grows with them: so many matrices below each other, or images.
        side: rows and columns of the matrices of a matrix product.
    """
    kind, nodes, weights, data, shape, macs = OPERATORS[operator](threads, side)
    inputs = helper.make_tensor_value_info("x", kind, list(data.shape))
    outputs = helper.make_tensor_value_info("y", *shape)
    initializers = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, operator, [inputs], [outputs], initializers)
    opset = helper.make_opsetid("", 13)
    file, feeds = folder / f"{operator}.onnx", folder / f"{operator}.npz"
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), file)
    np.savez(feeds, x=data[None])
    return Workload(file, feeds, macs)


def _float(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _bytes(kind: type, *shape: int) -> Any:
    limits = np.iinfo(kind)
    return np.random.default_rng(0).integers(limits.min, limits.max, shape, kind, endpoint=True)


def _matmul(threads: int, side: int) -> Any:
    data = _float(threads * side, side)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    shape = (TensorProto.FLOAT, data.shape)
    return TensorProto.FLOAT, nodes, {"w": _float(side, side)}, data, shape, data.size * side


def _matmul_integer(threads: int, side: int) -> Any:
    data = _bytes(np.uint8, threads * side, side)
    weights = {"w": _bytes(np.int8, side, side), "zx": np.uint8(128), "zw": np.int8(0)}
    nodes = [helper.make_node("MatMulInteger", ["x", "w", "zx", "zw"], ["y"])]
    shape = (TensorProto.INT32, data.shape)
    arrays = {name: np.asarray(value) for name, value in weights.items()}
    return TensorProto.UINT8, nodes, arrays, data, shape, data.size * side


def _conv(threads: int, _: int) -> Any:
    data = _float(threads, CHANNELS, PIXELS, PIXELS)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[KERNEL // 2] * 4)]
    weights = {"w": _float(CHANNELS, CHANNELS, KERNEL, KERNEL)}
    macs = data.size * CHANNELS * KERNEL**2
    return TensorProto.FLOAT, nodes, weights, data, (TensorProto.FLOAT, data.shape), macs


def _qlinear_conv(threads: int, _: int) -> Any:
    data = _bytes(np.uint8, threads, CHANNELS, PIXELS, PIXELS)
    given = ["x", "sx", "zx", "w", "sw", "zw", "sy", "zy"]
    nodes = [helper.make_node("QLinearConv", given, ["y"], pads=[KERNEL // 2] * 4)]
    scales = {"sx": np.float32(0.01), "sw": np.float32(0.01), "sy": np.float32(1.0)}
    zeros = {"zx": np.uint8(128), "zw": np.int8(0), "zy": np.uint8(128)}
    weights = {"w": _bytes(np.int8, CHANNELS, CHANNELS, KERNEL, KERNEL), **scales, **zeros}
    arrays = {name: np.asarray(value) for name, value in weights.items()}
    macs = data.size * CHANNELS * KERNEL**2
    return TensorProto.UINT8, nodes, arrays, data, (TensorProto.UINT8, data.shape), macs


OPERATORS: dict[str, Callable[[int, int], Any]] = {
    "MatMul": _matmul,
    "Conv": _conv,
    "MatMulInteger": _matmul_integer,
    "QLinearConv": _qlinear_conv,
}
FP32 = ("MatMul", "Conv")
INT8 = ("MatMulInteger", "QLinearConv")

"""One layer between Q/DQ, of any kind and with any fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

Write = Callable[..., Path]


def layer_between(
    operator: str,
    shape: Sequence[int | str],
    weight: tuple[int, ...],
    axis: int,
    **attributes: Any,
) -> onnx.ModelProto:
    """Return a model: `x` -> Q -> DQ -> layer -> `y`, its int8 weight behind a DQ."""
    generator = np.random.default_rng(0)
    channels = weight[axis]
    constants: dict[str, NDArray[Any]] = {
        "scale": np.array(0.05, np.float32),
        "zero": np.array(0, np.int8),
        "w_int8": generator.integers(-127, 128, weight, dtype=np.int8),
        "w_scale": np.full(channels, 0.01, np.float32),
        "w_zero": np.zeros(channels, np.int8),
    }
    nodes: list[NodeProto] = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="Q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], name="DQ"),
        helper.make_node(
            "DequantizeLinear", ["w_int8", "w_scale", "w_zero"], ["w"], name="W", axis=axis
        ),
        helper.make_node(operator, ["dq", "w"], ["y"], name="layer", **attributes),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [f"o{i}" for i in shape])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write such a layer; `change` may spoil the model before."""

    def written(
        *given: Any, change: Callable[[onnx.ModelProto], object] | None = None, **attributes: Any
    ) -> Path:
        model = layer_between(*given, **attributes)
        if change is not None:
            change(model)
        path = tmp_path / "layer.onnx"
        onnx.save(model, path)
        return path

    return written

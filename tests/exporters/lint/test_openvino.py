"""Lint for OpenVINO against its own list of kernels: what a rule blames runs in float there."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from edgekd.exporters.lint.finding import Lint
from edgekd.exporters.lint.openvino import lint_openvino
from tests.exporters.lint.small import Small

Build = Callable[[], ModelProto]
here = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra openvino is not installed"
)


def conv(read: str = "uint8", **kw: Any) -> Build:
    def build() -> ModelProto:
        s = Small(opset=kw.get("opset", 17), shape=(1, 16, 8, 8))
        x = s.x if kw.get("bare") else s.pair(s.x, read, zero=kw.get("zero"))
        shape = (16, 16, 3, 3)
        if kw.get("float_weight"):
            w = s.constant("w", np.ones(shape))
        else:
            w = s.weight(shape, kw.get("weight", "int8"), axis=kw.get("axis", 0), zero=kw.get("at"))
        y = s.op(kw.get("kind", "Conv"), x, w, pads=[1, 1, 1, 1], name="layer")
        return s.build(s.pair(y) if kw.get("pair") else y)

    return build


def matmul(*, kind: str = "MatMul", weight: dict[str, Any] | None = None, **grid: Any) -> Build:
    def build() -> ModelProto:
        s = Small(shape=(4, 16))
        w = s.weight((16, 8), **(weight or {"axis": 1}))
        return s.build(s.op(kind, s.pair(s.x, **grid), w, name="layer"))

    return build


FLOAT: dict[str, Build] = {
    "activation": conv("int8", zero=3),
    "activation (16 bits)": conv("uint16", opset=21),
    "weight": conv(weight="uint8", axis=None),
    "weight (zero point)": conv(at=3, axis=None),
    "weight (Gemm)": matmul(kind="Gemm", weight={"dtype": "uint8", "axis": None}),
    "weight (MatMul, zero point)": matmul(weight={"axis": 1, "zero": 3}),
    "weight (axis)": conv(axis=1),
    "float-input": conv(bare=True),
    "float-input (weight)": conv(float_weight=True),
}
INT8: dict[str, Build] = {
    "uint8": conv(),
    "uint8, zero point 3": conv(zero=3),
    "int8": conv("int8"),
    "behind it": conv(pair=True),
    "MatMul": matmul(dtype="uint8"),
    "MatMul, int8 with a zero point": matmul(dtype="int8", zero=5),
}


def lint(model: ModelProto, folder: Path, *, load: bool) -> Lint:
    path = folder / "small.onnx"
    onnx.save(model, path)
    return lint_openvino(path, model, load=load)


def rules(found: Lint) -> set[str]:
    return {one.rule for one in found.findings if one.weight != "note"}


@pytest.mark.parametrize("case", FLOAT)
def test_each_fault_is_found(case: str, tmp_path: Path) -> None:
    found = lint(FLOAT[case](), tmp_path, load=False)
    assert rules(found) == {case.partition(" (")[0]}
    assert (found.int8_layers, found.float_layers) == (0, 1)
    assert all(one.node == "layer" or "conv" in one.node for one in found.findings)


@pytest.mark.parametrize("case", INT8)
def test_what_is_right_has_no_findings(case: str, tmp_path: Path) -> None:
    found = lint(INT8[case](), tmp_path, load=False)
    assert not found.findings
    assert (found.int8_layers, found.float_layers) == (1, 0)


@here
@pytest.mark.parametrize("case", [*FLOAT, *INT8])
def test_openvino_itself_agrees(case: str, tmp_path: Path) -> None:
    found = lint({**FLOAT, **INT8}[case](), tmp_path, load=True)
    if case in FLOAT and found.int8_layers:  # this processor has a kernel that others lack
        assert [one.weight for one in found.findings] == ["note"]
        assert "in INT8 on this one" in found.findings[0].reason
        assert case == "activation"
    else:
        assert (found.int8_layers, found.float_layers) == ((0, 1) if case in FLOAT else (1, 0))
        assert all(one.weight != "note" for one in found.findings)
    assert "engine-float" not in rules(found)
    assert found.summary.endswith("on this CPU.)")


@here
def test_a_transposed_convolution_in_float_is_a_note(tmp_path: Path) -> None:
    found = lint(conv(kind="ConvTranspose", axis=1)(), tmp_path, load=True)
    assert [one.weight for one in found.findings] == ["note"]
    assert found.int8_layers == 0


@here
def test_operators_of_onnx_runtime_that_it_lacks_are_an_error(tmp_path: Path) -> None:
    s = Small()
    grid = s.constant("s", 0.05), s.constant("z", 128, "uint8")
    kind = "QLinearGlobalAveragePool"
    y = s.op(kind, s.q(s.x), *grid, *grid, domain="com.microsoft")
    found = lint(s.build(s.dq(y)), tmp_path, load=True)
    assert rules(found) == {"operator-format", "not-loaded"}
    assert kind in found.findings[0].reason


@here
@pytest.mark.parametrize("channels", [1, 16])
def test_a_convolution_in_operator_format_is_float_per_channel(
    channels: int, tmp_path: Path
) -> None:
    s = Small(shape=(1, 16, 8, 8))
    grid = s.constant("s", 0.05), s.constant("z", 0, "uint8")
    scale, zero = (np.full(channels, 0.05), np.zeros(channels)) if channels > 1 else (0.05, 0)
    w = s.constant("w", np.ones((16, 16, 3, 3)), "int8")
    weight = w, s.constant("ws", scale), s.constant("wz", zero, "int8")
    y = s.op("QLinearConv", s.q(s.x, zero=0), *grid, *weight, *grid)
    found = lint(s.build(s.dq(y, zero=0)), tmp_path, load=True)
    assert rules(found) == ({"operator-format"} if channels > 1 else set())
    assert found.int8_layers == (channels == 1)


def test_dynamic_quantization_is_computed_in_float(tmp_path: Path) -> None:
    s = Small()
    x = s.op("DynamicQuantizeLinear", s.x, outputs=3)
    w = s.constant("w", np.ones((4, 4, 3, 3)), "int8")
    y = s.op("ConvInteger", x, w, x[:-1] + "2", s.constant("z", 0, "int8"))
    found = lint(s.build(s.op("Cast", y, to=TensorProto.FLOAT)), tmp_path, load=False)
    assert rules(found) == {"integer-operator"}

"""Lint for TensorRT against TensorRT-RTX: what a rule calls an error is refused there, what it
calls a layer in float runs in float, and what has no finding is built in INT8.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto

from edgekd.exporters.lint.finding import Lint
from edgekd.exporters.lint.tensorrt import lint_tensorrt
from edgekd.exporters.lint.tensorrt_operators import OPSETS, Version
from edgekd.exporters.tensorrt.rtx import missing
from tests.exporters.lint.rtx import build_all, in_int8
from tests.exporters.lint.small import Small

Build = Callable[[], ModelProto]
Results = dict[str, dict[str, Any]]


def conv(**kw: Any) -> Build:
    """One quantized Conv; what is given replaces a part of it."""

    def build() -> ModelProto:
        s = Small(opset=kw.get("opset", 17))
        grid = {k: kw[k] for k in ("scale", "zero", "axis") if k in kw}
        x = s.pair(s.x, kw.get("read", "int8"), **grid)
        w = s.weight((4, 4, 3, 3), axis=kw.get("along", 0), zero=kw.get("weight_zero"))
        bias = [s.bias(4, rounded=kw["rounded"])] if "rounded" in kw else []
        return s.build(s.op("Conv", x, w, *bias, pads=[1, 1, 1, 1]))

    return build


def product(kind: str, along: int, **options: Any) -> Build:
    def build() -> ModelProto:
        s = Small(shape=(1, 16))
        w = s.weight((8, 16) if options else (16, 8), axis=along)
        return s.build(s.op(kind, s.pair(s.x, "int8"), w, **options))

    return build


def op(kind: str, *, opset: int = 17, outputs: int = 1, domain: str = "", **options: Any) -> Build:
    def build() -> ModelProto:
        s = Small(opset=opset)
        y = s.op(kind, s.x, outputs=outputs, domain=domain, **options)
        return s.build(*(f"{y[:-1]}{i}" for i in range(outputs)))

    return build


def without_zero_point() -> ModelProto:
    s = Small()
    scale = s.constant("s", 0.05)
    x = s.op("DequantizeLinear", s.op("QuantizeLinear", s.x, scale), scale)
    return s.build(s.op("Conv", x, s.weight((4, 4, 3, 3))))


def computed_scale() -> ModelProto:
    s = Small()
    scale, zero = s.op("ReduceMax", s.x, keepdims=0), s.constant("z", 0, "int8")
    q = s.op("QuantizeLinear", s.x, scale, zero)
    x = s.op("DequantizeLinear", q, scale, zero)
    return s.build(s.op("Conv", x, s.weight((4, 4, 3, 3))))


def one_factor(which: str) -> Build:
    def build() -> ModelProto:
        s = Small()
        x = s.x if which == "weight" else s.pair(s.x, "int8")
        w = s.weight((4, 4, 3, 3)) if which == "weight" else s.constant("w", np.ones((4, 4, 3, 3)))
        return s.build(s.op("Conv", x, w))

    return build


def integer_conv() -> ModelProto:
    s = Small()
    grid = s.constant("s", 0.05), s.constant("z", 0, "int8")
    w = s.constant("w", np.ones((4, 4, 3, 3)), "int8"), *grid
    return s.build(s.dq(s.op("QLinearConv", s.q(s.x, "int8"), *grid, *w, *grid), "int8"))


def pixels(*, cast_first: bool) -> Build:
    def build() -> ModelProto:
        s = Small()
        kinds = ("Cast", "Transpose") if cast_first else ("Transpose", "Cast")
        y = s.input("pixels", (1, 8, 8, 4), TensorProto.UINT8)
        for kind in kinds:
            y = s.op(kind, y, **({"to": 1} if kind == "Cast" else {"perm": [0, 3, 1, 2]}))
        return s.build(y)

    return build


def attention() -> ModelProto:
    s = Small(opset=23, shape=(1, 2, 8, 16))
    return s.build(s.op("Attention", s.x, s.x, s.x))


def resize(antialias: int) -> Build:
    def build() -> ModelProto:
        s = Small(opset=18)
        to = s.constant("r", [1, 1, 0.5, 0.5])
        return s.build(s.op("Resize", s.x, "", to, mode="linear", antialias=antialias))

    return build


REFUSED: dict[str, tuple[Build, Build]] = {
    "int32-bias": (conv(rounded=True), conv(rounded=False)),
    "zero-point": (conv(zero=3), conv(zero=0)),
    "zero-point (weight)": (conv(weight_zero=3), conv(weight_zero=0)),
    "zero-point (uint8)": (conv(read="uint8"), conv()),
    "scale": (conv(scale=0.0), conv(scale=0.1)),
    "scale (negative)": (conv(scale=-0.1), conv()),
    "scale (computed)": (computed_scale, conv()),
    "bits": (conv(opset=21, read="int16"), conv(opset=21)),
    "integer-operator": (integer_conv, conv()),
    "integer-operator (dynamic)": (op("DynamicQuantizeLinear", outputs=3), conv()),
    "domain": (op("QuickGelu", domain="com.microsoft"), op("Relu")),
    "operator": (op("Det"), op("Relu")),
    "operator (Unique)": (op("Unique"), op("Relu")),
    "attention": (attention, op("Relu", opset=23)),
    "option": (op("MaxPool", outputs=2, kernel_shape=[2, 2]), op("MaxPool", kernel_shape=[2, 2])),
    "option (Resize)": (resize(1), resize(0)),
    "uint8-tensor": (pixels(cast_first=False), pixels(cast_first=True)),
}
"""Rule -> a graph that TensorRT-RTX refuses, and the nearest one that it takes."""
IN_FLOAT: dict[str, tuple[Build, Build]] = {
    "weight-axis": (conv(along=1), conv(along=0)),
    "weight-axis (MatMul)": (product("MatMul", 0), product("MatMul", 1)),
    "weight-axis (Gemm)": (product("Gemm", 0), product("Gemm", 1)),
    "weight-axis (Gemm, transposed)": (product("Gemm", 1, transB=1), product("Gemm", 0, transB=1)),
    "per-channel-activation": (
        conv(scale=np.full(4, 0.05), zero=np.zeros(4), axis=1),
        conv(along=None),
    ),
    "float-input": (one_factor("data"), conv()),
    "float-input (weight)": (one_factor("weight"), conv()),
}
"""Rule -> a graph that is built and runs in float, and one that runs in INT8."""
MISREAD: dict[str, tuple[Build, Build]] = {
    "uint8": (conv(read="uint8", zero=0), conv()),
    "uint8 (left out)": (without_zero_point, conv()),
}
"""Rule -> a graph that is built as if uint8 were int8."""
CASES = {**REFUSED, **IN_FLOAT, **MISREAD}


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """What TensorRT-RTX makes of all graphs, each built once."""
    if missing():
        pytest.skip(missing())
    models = {f"{n}, {i}": pair[i]() for n, pair in CASES.items() for i in (0, 1)}
    return build_all(models, tmp_path_factory.mktemp("rtx"))


def lint(model: ModelProto, folder: Path, version: Version = (11, 0), **kw: Any) -> Lint:
    path = folder / "small.onnx"
    onnx.save(model, path)
    return lint_tensorrt(path, model, version, build=kw.pop("build", False), **kw)


def rules(found: Lint) -> set[str]:
    return {one.rule for one in found.findings if one.weight != "note"}


@pytest.mark.parametrize("case", CASES)
def test_a_rule_finds_its_fault_and_nothing_where_it_is_mended(case: str, tmp_path: Path) -> None:
    faulty, mended = CASES[case]
    found = lint(faulty(), tmp_path)
    assert rules(found) == {case.partition(" (")[0]}
    assert all(one.node and one.reason and one.fix for one in found.findings)
    assert not rules(lint(mended(), tmp_path))


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_called_an_error_is_refused_by_rtx(case: str, engines: Results) -> None:
    assert not engines[f"{case}, 0"]["engine_bytes"]
    assert engines[f"{case}, 1"]["engine_bytes"]


@pytest.mark.parametrize("case", IN_FLOAT)
def test_what_is_said_to_run_in_float_does_so_in_rtx(case: str, engines: Results) -> None:
    assert engines[f"{case}, 0"]["engine_bytes"]
    assert not in_int8(engines[f"{case}, 0"])
    assert in_int8(engines[f"{case}, 1"])


@pytest.mark.parametrize("case", MISREAD)
def test_uint8_is_taken_for_int8_by_rtx(case: str, engines: Results) -> None:
    assert in_int8(engines[f"{case}, 0"])


@pytest.mark.parametrize(("version", "most"), OPSETS.items())
def test_each_version_reads_operator_sets_up_to_its_own(
    version: Version, most: int, tmp_path: Path
) -> None:
    assert not rules(lint(op("Relu", opset=most)(), tmp_path, version))
    found = lint(op("Relu", opset=most + 1)(), tmp_path, version)
    assert rules(found) == {"opset"}
    assert f"9 to {most}" in found.findings[0].reason
    assert rules(lint(op("Relu", opset=8)(), tmp_path, version)) == {"opset"}


def test_a_version_lacks_operators_that_a_later_one_has(tmp_path: Path) -> None:
    def window() -> ModelProto:
        s = Small()
        return s.build(s.op("HannWindow", s.constant("size", 8, "int64")))

    assert rules(lint(window(), tmp_path, (10, 3))) == {"operator"}
    assert not rules(lint(window(), tmp_path, (10, 16)))


def residual(*, branch: bool, between: bool = False) -> ModelProto:
    s = Small()
    x = s.op("Relu", s.x)
    y = s.op("Conv", s.pair(x, "int8"), s.weight((4, 4, 3, 3)), pads=[1, 1, 1, 1])
    if between:
        return s.build(s.op("Relu", s.pair(y, "int8")))
    return s.build(s.op("Add", y, s.pair(x, "int8", scale=0.06) if branch else x))


def test_advice_on_placement_is_a_note(tmp_path: Path) -> None:
    for model, rule in (
        (residual(branch=False), "float-residual"),
        (residual(branch=True, between=True), "splits-fusion"),
    ):
        found = lint(model, tmp_path)
        assert [one.rule for one in found.findings] == [rule]
        assert not found.failed
    assert not lint(residual(branch=True), tmp_path).findings


def test_free_axes_need_a_profile_and_the_dla_refuses_them(tmp_path: Path) -> None:
    s = Small(shape=("batch", 4, 8, 8))
    model = s.build(s.op("Relu", s.x))
    found = lint(model, tmp_path)
    assert [one.rule for one in found.findings] == ["free-axes"]
    assert "[?, 4, 8, 8]" in found.findings[0].reason
    assert rules(lint(model, tmp_path, dla=True)) == {"dla-free-axes"}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((8, 6), {"dla-explicit", "dla-operator"}),
        ((10, 3), {"dla-explicit", "dla-operator"}),
        ((10, 16), {"dla-explicit", "dla-release", "dla-operator"}),
        ((11, 0), {"dla-operator"}),
    ],
)
def test_the_dla_of_each_version(version: Version, expected: set[str], tmp_path: Path) -> None:
    s = Small()
    y = s.op("Conv", s.pair(s.x, "int8"), s.weight((4, 4, 3, 3)))
    found = lint(s.build(s.op("Erf", y)), tmp_path, version, dla=True)
    assert rules(found) == expected


def test_the_dla_takes_no_huge_sides(tmp_path: Path) -> None:
    s = Small(shape=(1, 1, 1, 9000))
    assert rules(lint(s.build(s.op("Relu", s.x)), tmp_path, dla=True)) == {"dla-size"}


def test_float16_scales_are_a_warning_for_10_16_only(tmp_path: Path) -> None:
    s = Small(opset=19)
    half = s.op("Cast", s.x, to=TensorProto.FLOAT16)
    grid = s.constant("s", 0.05, "float16"), s.constant("z", 0, "int8")
    y = s.op("DequantizeLinear", s.op("QuantizeLinear", half, *grid), *grid)
    model = s.build(y)
    assert rules(lint(model, tmp_path, (10, 16))) == {"float16-scale"}
    assert not rules(lint(model, tmp_path, (11, 0)))


@pytest.mark.skipif(bool(missing()), reason=missing() or "-")
def test_an_engine_is_built_where_rtx_is_here_and_counts_its_layers(tmp_path: Path) -> None:
    found = lint(conv()(), tmp_path, (10, 3), build=True)
    assert (found.int8_layers, found.float_layers) == (1, 0)
    assert "engine that TensorRT-RTX" in found.by
    assert "1 of 1 layer with weights are laid out to run in INT8" in found.summary

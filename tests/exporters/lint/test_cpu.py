"""Lint against ONNX Runtime itself: what a rule blames stays in float, and what it advises fuses.

The rules are about the CPU that runs these tests; those about signed activations are of x86.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from edgekd.exporters.fused_kernels import int8_layers
from edgekd.exporters.lint.cpu import lint_cpu
from edgekd.exporters.lint.cpu_fusion import REQUANTIZES, SAME_GRID, on_x86
from edgekd.exporters.lint.finding import Lint
from edgekd.exporters.ort_session import Level, open_session, run
from tests.exporters.lint.small import Small, values

Build = Callable[[], ModelProto]
x86 = pytest.mark.skipif(not on_x86(), reason="about the kernels of x86")


def lint(model: ModelProto, folder: Path) -> Lint:
    path = folder / "small.onnx"
    onnx.save(model, path)
    return lint_cpu(path, model)


def rules(found: Lint) -> set[str]:
    return {one.rule for one in found.findings if one.weight != "note"}


def conv(**kw: Any) -> Build:
    """One quantized Conv; what is given replaces a part of it."""

    def build() -> ModelProto:
        s = Small(opset=kw.get("opset", 17))
        read = kw.get("read", "uint8")
        y = s.conv(s.pair(s.x, read))
        if "clip" in kw:
            y = s.op("Relu", y)
        unrounded = kw.get("unrounded")
        outputs = [s.op("Tanh", y) if unrounded else s.pair(y, read, zero=kw.get("zero"))]
        if kw.get("reader"):
            outputs += [s.op("Tanh", y)]
        if kw.get("twice"):
            outputs += [s.pair(y, read, scale=0.07)]
        if kw.get("output"):
            outputs += [y]
        return s.build(*outputs)

    return build


def op(
    kind: str, *, before: float = 0.05, after: float = 0.05, opset: int = 17, **options: Any
) -> Build:
    def build() -> ModelProto:
        s = Small(opset=opset)
        return s.build(s.pair(s.op(kind, s.pair(s.x, scale=before), **options), scale=after))

    return build


def gemm(*, rounded: bool = True, **options: Any) -> Build:
    def build() -> ModelProto:
        s = Small(shape=(1, 16))
        w = s.weight((16, 8), axis=1)
        return s.build(s.op("Gemm", s.pair(s.x), w, s.bias(8, rounded=rounded), **options))

    return build


def add(other: str) -> Build:
    def build() -> ModelProto:
        s = Small()
        a, b = s.pair(s.x), s.input("x2", (1, 4, 8, 8))
        b = {"float": b, "int8": s.pair(b, "int8", scale=0.06), "uint8": s.pair(b)}[other]
        sum_ = s.op("Add", a, b)
        return s.build(s.pair(sum_), s.op("Tanh", b))

    return build


def computed() -> ModelProto:
    s = Small()
    w = s.op("Tanh", s.input("w", (4, 4, 3, 3)))
    return s.build(s.pair(s.op("Conv", s.pair(s.x), w, pads=[1, 1, 1, 1])))


def per_channel() -> ModelProto:
    s = Small()
    x = s.pair(s.x, scale=np.full(4, 0.05), zero=np.full(4, 128), axis=1)
    return s.build(s.pair(s.conv(x)))


def requantized(scale: float) -> Build:
    def build() -> ModelProto:
        s = Small()
        y = s.pair(s.conv(s.pair(s.x)))
        return s.build(s.pair(y, scale=scale), s.op("Tanh", y))

    return build


def clipped_between(*, mended: bool) -> Build:
    def build() -> ModelProto:
        s = Small()
        y = s.conv(s.pair(s.x))
        y = s.op("Relu", y if mended else s.pair(y))
        return s.build(s.pair(y, zero=0))

    return build


CASES: dict[str, tuple[Build, Build | None]] = {
    "no-kernel": (op("Tanh"), op("Sigmoid")),
    "clip-between": (clipped_between(mended=False), clipped_between(mended=True)),
    "two-grids": (requantized(0.07), requantized(0.05)),
    "clip-not-absorbed": (conv(clip=True), conv(clip=True, zero=0)),
    "opset": (op("MaxPool", opset=11, kernel_shape=[2, 2]), op("MaxPool", kernel_shape=[2, 2])),
    "computed-weight": (computed, conv()),
    "float-input": (add("float"), add("uint8")),
    "16-bit": (conv(opset=21, read="uint16"), conv(opset=21)),
    "per-channel-activation": (per_channel, conv()),
    "is-output": (conv(output=True), conv()),
    "no-output-q": (conv(unrounded=True), conv()),
    "float-reader": (conv(reader=True), conv()),
    "two-quantizers": (conv(twice=True), conv()),
    "mixed-types": (add("int8"), add("uint8")),
    "other-grid": (
        op("MaxPool", after=0.06, kernel_shape=[2, 2]),
        op("MaxPool", kernel_shape=[2, 2]),
    ),
    "gemm-factors": (gemm(beta=0.5), gemm()),
    "float-bias": (gemm(rounded=False), gemm()),
}


@pytest.mark.parametrize("rule", CASES)
def test_what_a_rule_blames_stays_in_float_and_its_fix_fuses(rule: str, tmp_path: Path) -> None:
    faulty, mended = CASES[rule]
    found = lint(faulty(), tmp_path)
    assert rules(found) == {rule}
    assert found.failed
    assert all(one.fix and one.left for one in found.findings if one.rule == rule)
    assert mended is not None
    assert not rules(lint(mended(), tmp_path))


INTEGERS: dict[str, list[Any]] = {
    "Gather": [[0, 1]],
    "GatherElements": [np.zeros((1, 4, 8, 8))],
    "Reshape": [[1, 4, 64]],
    "Expand": [[2, 4, 8, 8]],
    "Slice": [[0], [2], [1]],
    "Tile": [[1, 2, 1, 1]],
    "Squeeze": [[0]],
    "Unsqueeze": [[0]],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "MaxPool": {"kernel_shape": [2, 2]},
    "AveragePool": {"kernel_shape": [2, 2]},
    "ReduceMax": {"axes": [2, 3]},
    "ReduceMin": {"axes": [2, 3]},
    "Gather": {"axis": 1},
    "GatherElements": {"axis": 1},
    "Concat": {"axis": 1},
    "Split": {"axis": 1, "outputs": 2},
}


@pytest.mark.parametrize("kind", sorted(REQUANTIZES | SAME_GRID))
def test_operators_that_are_said_to_have_a_kernel_have_one(kind: str, tmp_path: Path) -> None:
    s = Small()
    x, options = s.pair(s.x), OPTIONS.get(kind, {})
    if kind == "Conv":
        y = s.conv(x)
    elif kind in ("MatMul", "Gemm"):
        y = s.op(kind, s.pair(s.input("x2", (1, 16))), s.weight((16, 8), axis=1))
    elif kind in ("Add", "Mul", "Concat", "Where"):
        other = s.pair(s.input("x2", (1, 4, 8, 8)))
        first = [s.input("c", (1, 4, 8, 8), TensorProto.BOOL)] if kind == "Where" else []
        y = s.op(kind, *first, x, other, **options)
    elif kind == "Resize":
        y = s.op(kind, x, "", s.constant("scales", [1, 1, 2, 2]))
    else:
        steer = [s.constant("i", v, "int64") for v in INTEGERS.get(kind, [])]
        y = s.op(kind, x, *steer, **options)
    outputs = [s.pair(y)]
    if kind == "Split":
        outputs.append(s.pair(y.removesuffix("0") + "1"))
    assert not lint(s.build(*outputs), tmp_path).failed


@x86
def test_signed_activations_are_explained_where_a_tensor_has_two_readers(tmp_path: Path) -> None:
    """What onnxruntime's quantizer writes by default for a residual network."""

    def residual(kind: str) -> ModelProto:
        s = Small()
        x = s.pair(s.x, kind)
        y = s.conv(s.pair(s.conv(x, name="first"), kind), name="second")
        return s.build(s.pair(s.op("Add", s.pair(y, kind), x), kind))

    found = lint(residual("int8"), tmp_path)
    assert rules(found) == {"signed-activations"}
    assert "first" in found.groups[0].nodes
    assert found.int8_layers < 2
    mended = lint(residual("uint8"), tmp_path)
    assert not mended.failed
    assert (mended.int8_layers, mended.float_layers) == (2, 0)


@x86
def test_a_mixture_of_signed_and_unsigned_is_named(tmp_path: Path) -> None:
    """As NNCF writes it: uint8 behind a Relu, int8 elsewhere; two readers keep int8 as it is."""
    s = Small()
    x = s.pair(s.x, "int8")
    first = s.pair(s.op("Relu", s.conv(x, name="first")), "uint8", zero=0)
    second = s.pair(s.conv(first, name="second"), "int8")
    found = lint(s.build(second, s.pair(s.op("Add", x, second), "int8")), tmp_path)
    assert "mixed-types" in rules(found)
    assert any("int8 and writes uint8" in one.reason for one in found.findings)


@x86
@pytest.mark.parametrize(
    ("activation", "weight", "rule"),
    [
        ("int8", "int8", "signed-activations"),
        ("uint8", "uint8", "unsigned-weights"),
        ("uint8", "int8", ""),
    ],
)
def test_slow_integer_kernels_are_found(
    activation: str, weight: str, rule: str, tmp_path: Path
) -> None:
    s = Small()
    grid = {"s": s.constant("s", 0.05), "z": s.constant("z", 0, activation)}
    stored = s.constant("w", np.ones((4, 4, 3, 3)), weight)
    w = (stored, grid["s"], s.constant("wz", 0, weight))
    y = s.op("QLinearConv", s.q(s.x, activation, zero=0), *grid.values(), *w, *grid.values())
    found = rules(lint(s.build(s.dq(y, activation, zero=0)), tmp_path))
    assert found == ({rule} if rule else set())


def test_convolutions_of_dynamic_quantization_are_slow(tmp_path: Path) -> None:
    s = Small()
    x = s.op("DynamicQuantizeLinear", s.x, outputs=3)
    w = s.constant("w", np.ones((4, 4, 3, 3)), "int8")
    y = s.op("ConvInteger", x, w, x.removesuffix("0") + "2", s.constant("z", 0, "int8"))
    assert rules(lint(s.build(y), tmp_path)) == {"conv-integer"}


@pytest.mark.parametrize("kind", ["Conv", "MatMul", "Gemm", "Gemm transposed"])
def test_weights_along_the_wrong_axis_are_wrong_without_a_word(kind: str, tmp_path: Path) -> None:
    """ONNX Runtime 1.31 fuses them and applies the scales to the output channels."""

    def build(axis: int) -> ModelProto:
        shape = (4, 4, 3, 3) if kind == "Conv" else (16, 16)
        s = Small(shape=(1, 4, 8, 8) if kind == "Conv" else (1, 16))
        stored = s.constant("w", s.rng.integers(-64, 65, shape), "int8")
        count = shape[axis]
        scale, zero = np.linspace(0.001, 0.02, count), np.zeros(count)
        w = s.dq(stored, "int8", scale=scale, zero=zero, axis=axis)
        options: dict[str, Any] = {"transB": 1} if kind == "Gemm transposed" else {}
        return s.build(s.pair(s.op(kind.split()[0], s.pair(s.x), w, **options), scale=0.1))

    right = 0 if kind in ("Conv", "Gemm transposed") else 1
    for axis in (0, 1):
        model = build(axis)
        found = lint(model, tmp_path)
        assert rules(found) == (set() if axis == right else {"weight-axis"})
        answers = [
            run(
                open_session(model.SerializeToString(), level=level),
                [model.graph.output[0].name],
                {"x": values((1, 4, 8, 8) if kind == "Conv" else (1, 16))},
                name="small",
            )[0]
            for level in (Level.ORT_ENABLE_ALL, Level.ORT_DISABLE_ALL)
        ]
        off = np.abs(answers[0] - answers[1]).max() / np.abs(answers[1]).max()
        assert (off < 0.05) == (axis == right)


def test_float16_on_a_cpu_is_said(tmp_path: Path) -> None:
    s = Small()
    w = s.constant("w", np.ones((4, 4, 3, 3)), "float16")
    s.inputs[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    found = lint(s.build(s.op("Conv", s.x, w)), tmp_path)
    assert rules(found) == {"float16-on-cpu"}
    assert "1 layer with weights, all in float" in found.summary


def test_a_float_file_has_no_findings(tmp_path: Path) -> None:
    s = Small()
    found = lint(s.build(s.op("Conv", s.x, s.constant("w", np.ones((4, 4, 3, 3))))), tmp_path)
    assert not found.findings
    assert "Nothing is quantized: 1 layer with weights, all in float" in found.summary


def test_a_layer_that_the_file_leaves_in_float_is_a_note(tmp_path: Path) -> None:
    s = Small()
    y = s.op(
        "Conv", s.pair(s.conv(s.pair(s.x))), s.constant("w", np.ones((4, 4, 3, 3))), name="head"
    )
    found = lint(s.build(y), tmp_path)
    assert not found.failed
    assert "1 of 2 layers with weights run in INT8" in found.summary
    assert [one.node for one in found.findings if one.rule == "float-layer"] == ["head"]


def test_a_small_tensor_without_a_kernel_is_a_note(tmp_path: Path) -> None:
    """A mean over the last pixels converts next to nothing of what the layers write."""
    s = Small(shape=(1, 4, 64, 64))
    y = s.conv(s.pair(s.x))
    for _ in range(3):
        y = s.conv(s.pair(y))
    small = s.pair(s.op("GlobalAveragePool", s.pair(y)))
    y = s.op("Softmax", s.pair(s.op("Tanh", small)))
    found = lint(s.build(y), tmp_path)
    assert [one.weight for one in found.findings if one.rule == "no-kernel"] == ["note"]
    assert not found.failed


def test_counts_are_those_of_the_whole_optimization(tmp_path: Path) -> None:
    """The last level of ONNX Runtime renames nodes, and changes none of the counts."""
    for build in (conv(), conv(reader=True), add("float"), gemm(), op("Tanh")):
        found = lint(build(), tmp_path)
        whole = int8_layers(tmp_path / "small.onnx")
        assert found.int8_layers == whole.int8_layers
        assert (found.quantize_left, found.dequantize_left) == (
            whole.quantize_left,
            whole.dequantize_left,
        )


@pytest.mark.parametrize("rounded", [True, False])
def test_the_advice_on_a_gate_does_not_go_in_a_circle(rounded: bool, tmp_path: Path) -> None:
    """Without the pairs around a HardSigmoid its product lacks them: both get the same advice."""
    s = Small()
    x = s.pair(s.conv(s.pair(s.x)))
    gate = s.op("HardSigmoid", x)
    found = lint(
        s.build(s.pair(s.conv(s.pair(s.op("Mul", x, s.pair(gate) if rounded else gate))))), tmp_path
    )
    (one,) = [f for f in found.findings if f.weight != "note"]
    assert one.rule == ("no-kernel" if rounded else "float-input")
    assert "HardSigmoid" in one.reason
    assert one.fix.startswith("use edgekd quantize on the float file")


def test_a_file_that_is_not_loaded_is_an_error(tmp_path: Path) -> None:
    s = Small()
    found = lint(s.build(s.op("Blur", s.conv(s.x), domain="my.own")), tmp_path)
    assert rules(found) == {"not-loaded", "unknown-operator"}
    assert [one.fix for one in found.findings if one.rule == "not-loaded"] == [""]
    assert "does not load this file" in found.summary
    assert "Blur" in found.findings[0].reason


def test_time_grows_with_the_nodes_only(tmp_path: Path) -> None:
    """10,000 nodes; a search through all for each would take minutes."""
    s = Small()
    y = s.x
    nodes = []
    for i in range(2_500):
        for kind, name in (("QuantizeLinear", "q"), ("DequantizeLinear", "d")):
            nodes.append(helper.make_node(kind, [y, "s", "z"], [f"{name}{i}"], name=f"{name}{i}"))
            y = f"{name}{i}"
        nodes += [
            helper.make_node("Tanh", [y], [f"t{i}"], name=f"t{i}"),
            helper.make_node("Elu", [f"t{i}"], [f"r{i}"], name=f"r{i}"),
        ]
        y = f"r{i}"
    s.constant("s", 0.05)
    s.constant("z", 0, "uint8")
    s.nodes = nodes
    found = lint(s.build(y), tmp_path)
    assert len(found.groups) <= 3

"""Rules for runtimes that are not here: each finds its fault, and nothing in right files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from edgekd.exporters.lint.finding import Lint
from edgekd.exporters.lint.float_providers import PROVIDERS, lint_float_provider
from edgekd.exporters.lint.openvino import lint_openvino
from edgekd.exporters.lint.qnn import lint_qnn
from edgekd.exporters.lint.targets import TARGETS, find_target, run_lint, shipped_for
from edgekd.exporters.lint.xnnpack import lint_xnnpack
from tests.exporters.lint.small import Small

Build = Callable[[], ModelProto]
FILE = Path("small.onnx")


def rules(found: Lint) -> set[str]:
    return {one.rule for one in found.findings if one.weight != "note"}


def conv(read: str = "int8", weight: str = "int8", **kw: Any) -> ModelProto:
    """One quantized Conv with Q/DQ behind it; what is given replaces a part of it."""
    s = Small(shape=kw.get("shape", ("batch", 4, 8, 8)))
    x = s.pair(s.x, read, **kw.get("grid", {}))
    w = s.weight((4, 4, 3, 3), weight, axis=kw.get("axis", 0), zero=kw.get("zero"))
    y = s.op(kw.get("kind", "Conv"), x, w, **kw.get("options", {}))
    if kw.get("bare"):
        return s.build(y)
    y = s.op("Relu", y) if kw.get("relu") else y
    return s.build(s.pair(y, kw.get("write", read), zero=kw.get("at")))


PER_CHANNEL = {"scale": np.full(4, 0.05), "zero": np.zeros(4), "axis": 1}


@pytest.mark.parametrize(
    ("rule", "model"),
    [
        ("types", lambda: conv("uint8", "int8")),
        ("types", lambda: conv("uint8", "uint8")),
        ("types", lambda: conv(grid=PER_CHANNEL)),
        ("types", lambda: conv(zero=3)),
        ("types", lambda: conv(kind="ConvTranspose", axis=1)),
        ("output", lambda: conv(write="uint8")),
        ("output", lambda: conv(bare=True)),
        ("shape", lambda: conv(shape=("batch", 4, "h", "w"))),
        ("shape", lambda: conv(options={"auto_pad": "SAME_LOWER"})),
    ],
)
def test_xnnpack_leaves_what_it_has_no_kernel_for(rule: str, model: Build) -> None:
    found = lint_xnnpack(FILE, model())
    assert rules(found) == {rule}
    assert found.int8_layers == 0


@pytest.mark.parametrize(
    "model",
    [
        conv,
        lambda: conv(axis=None),
        lambda: conv("uint8", "uint8", axis=None),
        lambda: conv(relu=True),
        lambda: conv(kind="ConvTranspose", axis=None),
    ],
)
def test_xnnpack_takes_one_signedness(model: Build) -> None:
    found = lint_xnnpack(FILE, model())
    assert not found.findings
    assert (found.int8_layers, found.float_layers) == (1, 0)


def test_xnnpack_has_products_in_float_only() -> None:
    s = Small(shape=(1, 16))
    y = s.pair(s.op("MatMul", s.pair(s.x, "int8"), s.weight((16, 8), axis=1)), "int8")
    found = lint_xnnpack(FILE, s.build(y))
    assert [one.rule for one in found.findings] == ["product"]
    assert not found.failed


def test_xnnpack_takes_images_only() -> None:
    s = Small(shape=(1, 4, 8))
    y = s.op("Conv", s.x, s.constant("w", np.ones((4, 4, 3))))
    assert rules(lint_xnnpack(FILE, s.build(y))) == {"shape"}


def test_qnn_takes_unsigned_activations_and_fixed_shapes() -> None:
    right: dict[str, Any] = {"shape": (1, 4, 8, 8)}
    assert not lint_qnn(FILE, conv("uint8", **right)).findings
    assert rules(lint_qnn(FILE, conv("uint8"))) == {"free-axes"}
    assert rules(lint_qnn(FILE, conv("int8", **right))) == {"activation"}


def test_qnn_leaves_other_operators_and_half_quantized_layers_to_the_cpu() -> None:
    s = Small()
    y = s.op("Conv", s.pair(s.x), s.constant("w", np.ones((4, 4, 3, 3))))
    found = lint_qnn(FILE, s.build(s.op("Det", y)))
    assert rules(found) == {"operator", "float-input"}
    assert "Det" in next(one.reason for one in found.findings if one.rule == "operator")


def test_qnn_has_what_its_source_registers() -> None:
    s = Small()
    ends = [s.op(kind, s.x) for kind in ("HardSigmoid", "Selu", "Softplus", "Tan", "GlobalMaxPool")]
    ends += [s.op("Mean", s.x, s.x), s.op("Mod", s.x, s.x, fmod=1)]
    assert not lint_qnn(FILE, s.build(*ends)).findings
    s = Small()
    (found,) = lint_qnn(FILE, s.build(s.op("BiasGelu", s.x, domain="com.microsoft"))).findings
    assert "op_builder_factory.cc" in found.reason


@pytest.mark.parametrize("domain", ["com.acme", "com.microsoft", ""])
@pytest.mark.parametrize("target", [t for t in TARGETS if t.name[:3] not in ("cpu", "ten")])
def test_every_provider_names_an_operator_that_nothing_defines(target: Any, domain: str) -> None:
    s = Small()
    s.nodes.append(helper.make_node("MyScale", ["x"], ["y"], domain=domain))
    graph = helper.make_graph(s.nodes, "g", s.inputs, [helper.make_empty_tensor_value_info("y")])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid(domain or "com.acme", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    here = target.name == "openvino"
    found = lint_openvino(FILE, model, load=False) if here else run_lint(FILE, model, target)
    assert "unknown-operator" in rules(found)
    assert found.failed


def test_a_function_of_the_file_is_not_an_unknown_operator() -> None:
    s = Small()
    body = [helper.make_node("Mul", ["a", "a"], ["b"])]
    standard = helper.make_opsetid("", 17)
    model = s.build(s.op("MyScale", s.x, domain="com.acme"))
    model.functions.append(
        helper.make_function("com.acme", "MyScale", ["a"], ["b"], body, [standard])
    )
    assert not lint_qnn(FILE, model).findings


@pytest.mark.parametrize(("shape", "weight"), [((1, 4, 8), "note"), (("n", 4, 8), "warning")])
def test_coreml_takes_a_gather(shape: Any, weight: str) -> None:
    s = Small(shape=shape)
    row = s.op("Gather", s.x, s.constant("i", [0], "int64"), axis=1)
    fixed = lint_float_provider(FILE, s.build(row), "coreml")
    assert "operator" not in rules(fixed)
    one = s.op("Gather", s.x, s.constant("i", 0, "int64"), axis=1)
    found = lint_float_provider(FILE, s.build(row, one), "coreml").findings
    assert [f.weight for f in found if f.rule == "gather-one"] == [weight]


def test_xnnpack_computes_layers_with_one_small_factor_in_float() -> None:
    s = Small(shape=(1, 16))
    found = lint_xnnpack(FILE, s.build(s.op("MatMul", s.x, s.weight((16, 8), axis=1))))
    assert rules(found) == {"float-input"}
    assert "Nothing to improve" not in replace(found, findings=()).summary


@pytest.mark.parametrize("runtime", ["coreml", "webgpu"])
def test_operators_of_classical_models_are_left_to_the_cpu(runtime: str) -> None:
    s = Small(shape=(1, 4))
    model = s.build(s.op("Scaler", s.x, domain="ai.onnx.ml", offset=[0.0] * 4, scale=[1.0] * 4))
    assert rules(lint_float_provider(FILE, model, runtime)) == {"operator"}


def test_xnnpack_calls_operator_format_what_it_is() -> None:
    s = Small()
    found = lint_xnnpack(FILE, s.build(s.op("DynamicQuantizeLinear", s.x, outputs=3)))
    assert rules(found) == {"operator-format"}


def test_what_qnn_documents_for_matmul_only_is_marked_as_not_verified() -> None:
    s = Small(shape=(1, 16))
    y = s.op("MatMul", s.pair(s.x), s.weight((16, 8), axis=1))
    (found,) = lint_qnn(FILE, s.build(y)).findings
    assert (found.rule, found.weight, found.source) == ("matmul-types", "note", "unverified")


@pytest.mark.parametrize("runtime", PROVIDERS)
def test_float_providers_gain_nothing_from_q_dq(runtime: str) -> None:
    fixed = conv(shape=(1, 4, 8, 8))
    found = lint_float_provider(FILE, fixed, runtime)
    assert rules(found) == {"quantized"}
    assert (found.int8_layers, found.float_layers) == (0, 1)
    s = Small()
    plain = s.build(s.op("Conv", s.x, s.constant("w", np.ones((4, 4, 3, 3)))))
    assert not lint_float_provider(FILE, plain, runtime).findings


@pytest.mark.parametrize("runtime", PROVIDERS)
def test_integer_operators_go_to_the_cpu(runtime: str) -> None:
    s = Small()
    model = s.build(s.op("DynamicQuantizeLinear", s.x, outputs=3))
    assert rules(lint_float_provider(FILE, model, runtime)) == {"integer-operator"}


def test_coreml_wants_fixed_shapes_and_webgpu_images() -> None:
    s = Small(shape=("batch", 4, 8))
    model = s.build(s.op("Conv", s.x, s.constant("w", np.ones((4, 4, 3)))))
    assert rules(lint_float_provider(FILE, model, "coreml")) == {"free-axes"}
    assert rules(lint_float_provider(FILE, model, "webgpu")) == {"rank"}
    assert not lint_float_provider(FILE, model, "cuda").findings


def test_operators_that_are_folded_or_compute_indices_are_no_fault() -> None:
    s = Small()
    made = s.op("Det", s.constant("d", np.eye(3)))
    index = s.op("NonZero", s.x)
    model = s.build(s.op("Relu", s.x), made, index)
    for runtime in ("coreml", "webgpu"):
        assert not lint_float_provider(FILE, model, runtime).findings
    s = Small()
    unknown = s.build(s.op("Det", s.op("Reshape", s.x, s.constant("t", [4, 8, 8], "int64"))))
    assert rules(lint_float_provider(FILE, unknown, "coreml")) == {"operator"}


def test_a_bool_input_is_read() -> None:
    s = Small()
    model = s.build(s.op("Where", s.input("c", (1, 4, 8, 8), TensorProto.BOOL), s.x, s.x))
    assert lint_qnn(FILE, model).summary


def test_every_name_of_a_runtime_is_found_and_versions_alone_are_tensorrt() -> None:
    assert [find_target(t.name) for t in TARGETS] == list(TARGETS)
    assert find_target("10.3").name == find_target(" TensorRT-10.3 ").name == "tensorrt-10.3"


def test_each_variant_is_for_some_runtime() -> None:
    found = shipped_for(["fp32", "int8", "int8-tensorrt", "fp16", "int8-xnnpack"], TARGETS)
    names = {variant: {t.name for t in targets} for variant, targets in found.items()}
    assert names["int8"] == {"cpu", "openvino", "qnn"}
    assert "tensorrt-10.3" in names["int8-tensorrt"]
    assert names["int8-xnnpack"] == {"xnnpack"}
    assert names["fp32"] == {"cpu"}

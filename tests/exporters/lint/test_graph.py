"""The view of a graph: who makes, reads and rounds a tensor, in subgraphs and functions too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgekd.exporters.lint.cpu import lint_cpu
from edgekd.exporters.lint.finding import Finding, Lint, listed
from edgekd.exporters.lint.graph import index
from edgekd.exporters.lint.layers import layers, output_axis, wrong_axis
from edgekd.exporters.onnx_files import load_onnx
from tests.exporters.lint.small import Small

TEXTS = {
    "subgraph": """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1, 4] x, bool c) => (y) <float s = {0.1}, uint8 z = {3}> {
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            y = If(c) <then_branch = a () => (t) { t = Tanh(d) },
                       else_branch = b () => (e) { r = Elu(d) e = Identity(r) }>
        }""",
    "function": """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[1, 4] x) => (y) { y = own.twice(x) }
        <domain: "own", opset_import: ["" : 17]>
        twice (a) => (b) {
            s = Constant<value = float {0.1}>()
            q = QuantizeLinear(a, s)
            d = DequantizeLinear(q, s)
            t = Tanh(d)
            b = QuantizeLinear(t, s)
        }""",
    "no nodes": """<ir_version: 8, opset_import: ["" : 17]> g (float[1] x) => (float[1] x) {}""",
    "opset 9": """<ir_version: 4, opset_import: ["" : 9]>
        g (float[1, 4, 8, 8] x) => (y) <float[4, 4, 3, 3] w = {0}> { y = Conv(x, w) }""",
    "training": """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 4, 8, 8] x) => (y, m, v)
        <float[4] a = {1, 1, 1, 1}, float[4] b = {0, 0, 0, 0}> {
            y, m, v = BatchNormalization<training_mode = 1>(x, a, b, b, a)
        }""",
    "unknown rank": """<ir_version: 8, opset_import: ["" : 17]>
        g (float[4] a, float[4, 4] w, int64[k] n) => (float[a, b] y)
        <float s = {0.1}, uint8 z = {3}> {
            x = Reshape(a, n)
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            m = MatMul(d, w)
            p = QuantizeLinear(m, s, z)
            y = DequantizeLinear(p, s, z)
        }""",
    "nameless": """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 4] x) => (y) <float s = {0.1}> {
            a = QuantizeLinear(x, s)
            b = DequantizeLinear(a, s)
            c = Tanh(b)
            d = QuantizeLinear(c, s)
            y = DequantizeLinear(d, s)
        }""",
}


def parse(text: str) -> ModelProto:
    model = onnx.parser.parse_model(text)
    for tensor in model.graph.initializer:
        if not tensor.raw_data and tensor.dims and np.prod(tensor.dims) > 4:
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.ones(tensor.dims, "f"), tensor.name))
    return onnx.shape_inference.infer_shapes(model)


@pytest.mark.parametrize("name", TEXTS)
def test_odd_graphs_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(parse(TEXTS[name]), path)
    found = lint_cpu(path, load_onnx(path))
    assert found.summary
    rules = {one.rule for one in found.findings}
    assert not rules & {"unexplained", "not-loaded"}
    if name in ("function", "nameless"):
        assert rules & {"no-kernel"}
    if name == "nameless":
        assert found.findings[0].node == "Tanh -> c"


def test_a_body_reads_from_outside_and_what_it_makes_itself_hides_that() -> None:
    graph = index(parse(TEXTS["subgraph"]))
    assert [node.op_type for node in graph.readers["d"]] == ["If"] * 2
    inner = graph.bodies[0]
    found = inner.dequantized("d")
    assert found is not None
    assert found.dtype == "uint8"
    assert len(list(graph.scopes())) == 3


def test_a_weight_is_found_behind_q_dq_and_transpose() -> None:
    s = Small(shape=(1, 16))
    stored = s.constant("w", np.ones((8, 16)))
    turned = s.op("Transpose", s.pair(stored, "int8"), perm=[1, 0])
    s.op("MatMul", s.pair(s.x), turned)
    s.op("MatMul", s.pair(s.x), s.op("Tanh", s.x))
    (layer,) = layers(index(s.build(s.nodes[-1].output[0])))
    assert layer.weight == "w"
    assert layer.data is not None


@pytest.mark.parametrize(
    ("kind", "rank", "options", "axis"),
    [
        ("Conv", 4, {}, 0),
        ("ConvTranspose", 4, {}, 1),
        ("MatMul", 2, {}, 1),
        ("MatMul", 3, {}, 2),
        ("Gemm", 2, {}, 1),
        ("Gemm", 2, {"transB": 1}, 0),
    ],
)
def test_the_axis_of_the_output_channels(
    kind: str, rank: int, options: dict[str, Any], axis: int
) -> None:
    node = onnx.helper.make_node(kind, ["x", "w"], ["y"], **options)
    assert output_axis(node, rank) == axis


def test_a_negative_axis_counts_from_the_end() -> None:
    s = Small(shape=(1, 16))
    stored = s.constant("w", np.ones((16, 8)), "int8")
    w = s.dq(stored, "int8", scale=np.full(8, 0.1), zero=np.zeros(8), axis=-1)
    y = s.op("MatMul", s.pair(s.x), w)
    graph = index(s.build(y))
    (layer,) = layers(graph)
    assert wrong_axis(graph, layer) is None


def test_alike_findings_are_one_group_and_errors_come_first() -> None:
    def one(node: str, weight: str) -> Finding:
        return Finding(rule=weight, weight=weight, node=node, reason="r", fix="f")  # type: ignore[arg-type]

    found = Lint(
        file="m",
        runtime="cpu",
        known="run here",
        by="it",
        int8_layers=1,
        float_layers=1,
        quantized=True,
        findings=(one("a", "note"), one("b", "warning"), one("c", "warning"), one("d", "error")),
    )
    assert [group.nodes for group in found.groups] == [("d",), ("b", "c"), ("a",)]
    assert "1 error, 2 warnings, 1 note" in found.summary
    assert found.to_json()["failed"]


def test_long_lists_and_names_are_cut() -> None:
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert len(listed(["n" * 500])) < 70

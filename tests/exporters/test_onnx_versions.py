"""What is written loads in runtimes as old as its content allows."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgekd.exporters.onnx_versions import drop_unused_imports, lowest_ir, oldest_runtime
from edgekd.exporters.strip import strip


def model(opset: int, ir: int = 10, **domains: int) -> ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(name, version) for name, version in domains.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir)


@pytest.mark.parametrize(
    ("opset", "ir", "runtime"),
    [
        (7, 4, "0.3"),
        (10, 5, "0.4"),
        (11, 6, "1.0"),
        (13, 7, "1.6"),
        (14, 7, "1.8"),
        (17, 8, "1.12"),
        (18, 8, "1.14"),
        (19, 9, "1.15"),
        (20, 9, "1.17"),
        (21, 10, "1.18"),
    ],
)
def test_the_ir_version_is_the_lowest_that_the_operator_set_allows(
    opset: int, ir: int, runtime: str
) -> None:
    written = strip(model(opset, ir=13))
    assert written.ir_version == ir
    assert oldest_runtime(written) == runtime
    onnx.checker.check_model(written)


def test_what_came_later_needs_the_ir_version_it_came_with() -> None:
    small = model(18)
    weight = numpy_helper.from_array(np.zeros(2, np.int8), "w")
    small.graph.initializer.append(weight)
    assert lowest_ir(small) == 8
    small.graph.initializer[0].data_type = TensorProto.INT4
    assert lowest_ir(small) == 10
    small.graph.initializer[0].data_type = TensorProto.FLOAT8E4M3FN
    assert lowest_ir(small) == 9


def test_a_runtime_reads_no_newer_ir_version_than_its_own() -> None:
    assert oldest_runtime(model(13, ir=7)) == "1.6"
    assert oldest_runtime(model(13, ir=8)) == "1.9"
    assert oldest_runtime(model(13, ir=10)) == "1.18"
    assert oldest_runtime(model(26, ir=13)) is None


def test_operator_sets_that_no_node_uses_are_left_out() -> None:
    unused = model(13, **{"ai.onnx.ml": 1, "com.microsoft": 1})
    node = unused.graph.node.add(op_type="Gelu", domain="com.microsoft")
    node.input.append("x")
    node.output.append("z")
    drop_unused_imports(unused)
    assert [entry.domain for entry in unused.opset_import] == ["", "com.microsoft"]

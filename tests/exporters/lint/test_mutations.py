"""Graphs that are broken at random, and that onnx's checker still takes, end no lint."""

from __future__ import annotations

import random
from pathlib import Path

import onnx
from onnx import ModelProto, helper

from edgekd.errors import ModelError
from edgekd.exporters.lint.cpu import lint_cpu
from edgekd.exporters.lint.float_providers import PROVIDERS, lint_float_provider
from edgekd.exporters.lint.openvino import lint_openvino
from edgekd.exporters.lint.qnn import lint_qnn
from edgekd.exporters.lint.tensorrt import lint_tensorrt
from edgekd.exporters.lint.tensorrt_operators import OPSETS
from edgekd.exporters.lint.xnnpack import lint_xnnpack
from edgekd.exporters.onnx_files import load_onnx
from tests.exporters.lint.test_cpu import CASES
from tests.exporters.lint.test_graph import TEXTS, parse
from tests.exporters.lint.test_tensorrt import CASES as FOR_TENSORRT

KINDS = ("Conv", "Add", "QuantizeLinear", "DequantizeLinear", "MatMul", "Gemm", "Sum", "LSTM", "If")
ATTRIBUTES = ("axis", "block_size", "alpha", "transB")


def mutated(model: ModelProto, rng: random.Random) -> ModelProto:
    """One to three changes of a graph, anywhere."""
    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for _ in range(rng.randint(1, 3)):
        if not graph.node:
            break
        node, other = rng.choice(graph.node), rng.choice(graph.node)
        match rng.randrange(8):
            case 0 if node.input:
                del node.input[rng.randrange(len(node.input)) :]
            case 1 if node.input:
                node.input[rng.randrange(len(node.input))] = ""
            case 2:
                node.op_type = rng.choice(KINDS)
            case 3:
                node.name = rng.choice(["", other.name, "a" * 5000])
            case 4 if graph.initializer:
                del graph.initializer[rng.randrange(len(graph.initializer))]
            case 5:
                value = rng.choice([0, -1, 99])
                node.attribute.append(helper.make_attribute(rng.choice(ATTRIBUTES), value))
            case 6:
                del graph.value_info[:]
            case _:
                node.domain = rng.choice(["", "com.microsoft", "my"])
    return result


def test_no_graph_that_is_valid_ends_a_lint(tmp_path: Path) -> None:
    rng, path = random.Random(0), tmp_path / "m.onnx"
    seeds = [build() for pair in CASES.values() for build in pair if build]
    seeds += [build() for pair in FOR_TENSORRT.values() for build in pair]
    seeds += [parse(text) for text in TEXTS.values()]
    valid = 0
    for _ in range(400):
        onnx.save(mutated(rng.choice(seeds), rng), path)
        try:
            model = load_onnx(path)
        except ModelError:
            continue
        valid += 1
        found = [lint_cpu(path, model), lint_qnn(path, model), lint_xnnpack(path, model)]
        found.append(lint_openvino(path, model, load=False))
        found += [lint_float_provider(path, model, name) for name in PROVIDERS]
        found += [lint_tensorrt(path, model, v, dla=True, build=False) for v in OPSETS]
        assert all(one.summary and one.to_json() for one in found)
    assert valid > 50

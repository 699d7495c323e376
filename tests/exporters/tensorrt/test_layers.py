"""The list of layers is read as TensorRT-RTX prints it, and a line that is none is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.exporters.tensorrt.layers import read_layers

SAMPLE = Path(__file__).parents[3] / "../shared/samples/trtexec/rtx_1.7.1_verbose_q_ok_sm86.log"


def tensor(name: str, kind: str) -> str:
    return (
        f"{{ Name: {name}, Dimensions: [-1,4,8,8], Strides: [256,1,32,4], "
        f"StrideOrder: [3,0,2,1], Datatype: {kind}, Format: (NHWC) Channel major format }}"
    )


def line(kind: str, inputs: list[str], constants: list[str], origin: str) -> str:
    return (
        f"Name: l_myl0_2, LayerType: {kind}, Inputs: [ {', '.join(inputs)}], "
        f"Constants: [ {', '.join(constants)}], Outputs: [ {tensor('y', 'Float')}], "
        f"TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: {origin}"
    )


INT8, FLOAT = tensor("a", "Int8"), tensor("b", "Float")


@pytest.mark.parametrize(
    ("kind", "inputs", "constants", "expected"),
    [
        ("correlation", [INT8], [INT8, FLOAT, FLOAT], True),
        ("gemm", [INT8], [INT8, FLOAT], True),
        ("gemm", [INT8, INT8], [FLOAT], True),  # two activations
        ("gemm", [INT8, FLOAT], [INT8], False),
        ("correlation", [FLOAT], [INT8, FLOAT], False),
        ("correlation", [FLOAT, FLOAT], [FLOAT], False),  # the weight was dequantized
        ("runtime_fusion", [INT8], [FLOAT, INT8], False),
        ("runtime_fusion", [INT8, INT8], [], False),
        ("gemm", [], [], False),
        ("kgen", [INT8], [INT8], False),
        ("correlation", [tensor("Datatype: Int8, Format:", "Float")], [INT8], False),
    ],
)
def test_a_layer_runs_in_int8_if_both_factors_do(
    kind: str, inputs: list[str], constants: list[str], expected: bool
) -> None:
    (layer,) = read_layers(line(kind, inputs, constants, "[ONNX Layer: n1]"))
    assert layer.in_int8 is expected
    assert layer.kind == kind


@pytest.mark.parametrize("between", ["", "\x1f"])
def test_layers_name_their_nodes(between: str) -> None:
    origin = between.join(["[ONNX Layer: a]", "[ONNX Layer: b[0]/c]", "[ONNX Layer: d]"])
    (layer,) = read_layers(line("gemm", [INT8], [INT8], origin))
    assert layer.nodes == ("a", "b[0]/c", "d")


def test_other_lines_are_no_layers() -> None:
    whole = line("gemm", [INT8], [INT8], "[ONNX Layer: a]")
    assert read_layers("") == ()
    assert read_layers("I/O Tensors:\n Name: x, IOMode: Input\n") == ()
    assert all(not read_layers(whole[:cut]) for cut in range(len(whole) - 60))


@pytest.mark.skipif(not SAMPLE.is_file(), reason="the samples of trtexec are not here")
def test_a_real_log() -> None:
    layers = read_layers(SAMPLE.read_text("utf8"))
    assert len(layers) == 14
    products = [layer for layer in layers if layer.multiplies]
    assert [layer.kind for layer in products] == ["correlation"] * 4 + ["gemm"]
    assert all(layer.in_int8 for layer in products)
    assert [layer.nodes[0] for layer in products] == ["c1", "c2", "c3", "c4", "fc"]

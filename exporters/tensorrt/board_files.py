"""Which files of a network a board builds engines of, and in which types."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onnx import ModelProto, TensorProto

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.feeds import model_inputs
from edgekd.benchmarks.trtexec.commands import Precision
from edgekd.benchmarks.trtexec.versions import Version
from edgekd.errors import ModelError
from edgekd.exporters.onnx_files import load_onnx
from edgekd.exporters.shapes import opset_of
from edgekd.exporters.target import Source
from edgekd.exporters.tensorrt.script import BoardFile

INT8: Variant = "int8-tensorrt"


def board_files(source: Source, version: Version) -> list[BoardFile]:
    """Return what a device with that version builds: INT8, FP16 as its rival, FP32.

    Raises:
        ModelError: a file cannot be read, is of a newer operator set than the version reads, or
            is quantized for other runtimes.
    """
    found = read_files(source)
    newer = [file for file in found if file.opset > version.highest_opset]
    if newer:
        raise ModelError(
            f"{newer[0].name} has operator set {newer[0].opset} of ONNX, and TensorRT "
            f"{version.name} reads at most {version.highest_opset}; compress again with "
            f"export.opset = {version.highest_opset}"
        )
    return with_rival(found, version)


def read_files(source: Source) -> list[BoardFile]:
    """Return the files that TensorRT could read, of any operator set; raises as `board_files`."""
    return [
        BoardFile(
            name=path.name,
            precision=_precision(model, path, variant),
            inputs=model_inputs(path),
            opset=opset_of(model),
        )
        for variant, path in source.files.items()
        if variant in (None, INT8, "fp16", FP32)
        for model in [load_onnx(path)]
    ]


def with_rival(found: Sequence[BoardFile], version: Version) -> list[BoardFile]:
    """Return the files in order, and float16 of the float32 file where no file has it."""
    found = list(found)
    floats = [file for file in found if file.precision == "fp32"]
    if floats and version.fp16_chosen is not None and all(f.precision != "fp16" for f in found):
        rival = floats[0]
        found.append(
            BoardFile(
                name=rival.name, precision="fp16-chosen", inputs=rival.inputs, opset=rival.opset
            )
        )
    order: list[Precision] = ["int8", "fp16", "fp16-chosen", "fp32"]
    return sorted(found, key=lambda file: order.index(file.precision))


def _precision(model: ModelProto, path: Path, variant: Variant | None) -> Precision:
    """Return what a file is by its name, or by its weights where that says nothing."""
    found = _read_precision(model, path)
    named: dict[Variant | None, Precision] = {INT8: "int8", "fp16": "fp16", FP32: "fp32"}
    return named.get(variant, found)


def _read_precision(model: ModelProto, path: Path) -> Precision:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    grids = {
        constants[node.input[2]].data_type
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        and len(node.input) > 2
        and node.input[2] in constants
    }
    if grids - {TensorProto.INT8}:
        kinds = ", ".join(sorted(TensorProto.DataType.Name(kind).lower() for kind in grids))
        raise ModelError(
            f"{path.name} is quantized for another runtime: its zero points are {kinds}, and "
            f'TensorRT reads int8 alone; make that file with variants = ["{INT8}"]'
        )
    if grids or any(node.op_type == "DequantizeLinear" for node in model.graph.node):
        return "int8"
    halves = any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    return "fp16" if halves else "fp32"

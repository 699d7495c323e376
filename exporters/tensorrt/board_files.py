"""Which files of a network a board builds engines of, and in which types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Board:
    """What a device with one version of TensorRT builds of a network."""

    files: tuple[BoardFile, ...]
    """INT8, FP16 as its rival, FP32."""
    left_out: Mapping[str, str]
    """File that this version does not read -> why."""


def board_of(found: Sequence[BoardFile], version: Version) -> Board:
    """Return what a version builds of files that were read."""
    newer = [file for file in found if file.opset > version.highest_opset]
    reason = f"TensorRT {version.name} reads operator sets of ONNX to {version.highest_opset}"
    return Board(
        files=tuple(_with_rival([file for file in found if file not in newer], version)),
        left_out={file.name: f"{reason}, and it has {file.opset}" for file in newer},
    )


def board_files(source: Source, version: Version) -> Board:
    """Return what a device with that version builds: INT8, FP16 as its rival, FP32.

    Raises:
        ModelError: a file cannot be read, or is quantized for other runtimes; or the version reads
            no file, for each is of a newer operator set.
    """
    board = board_of(read_files(source), version)
    if not board.files:
        told = "; ".join(f"{name}: {why}" for name, why in board.left_out.items())
        raise ModelError(f"{told}; compress again with export.opset = {version.highest_opset}")
    return board


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


def _with_rival(found: Sequence[BoardFile], version: Version) -> list[BoardFile]:
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

"""Export a PyTorch network to an ONNX file: equal networks give equal bytes.

The network is captured by torch.export and translated by torch's own dynamo exporter, in memory;
operator sets below 18 are left to torch's older exporter (`traced_export.py`). Clean-up passes fold
constants and batch norm and share initializers; what identifies the developer is stripped; names
and the operator set are read back from what is written.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto
from onnx_ir.passes import common
from torch import Tensor, nn

from edgekd.errors import ModelError, require
from edgekd.exporters.failure import capture_failed, translation_failed
from edgekd.exporters.input_scaling import fold_input_scaling
from edgekd.exporters.onnx_files import (
    SIZE_LIMIT_BYTES,
    check,
    messages,
    save_onnx,
    to_proto,
)
from edgekd.exporters.recurrent import recurrent_translations
from edgekd.exporters.strip import strip
from edgekd.exporters.traced_export import TRACED_OPSETS, export_traced
from edgekd.networks.recurrent import capturable

OPSETS = range(TRACED_OPSETS[0], 21)
"""From 18 on by the dynamo exporter without a later conversion; 20 is what TensorRT 10.3 reads."""

DynamicAxes = Mapping[str, Mapping[int, str]]


def export_onnx(
    network: nn.Module,
    example: Sequence[Tensor],
    path: Path,
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_axes: DynamicAxes,
    opset: int = 20,
) -> None:
    """Write `network` in evaluation mode to `path`; its training mode is left as it was.

    Args:
        network: takes tensors by position and returns one tensor, a tuple or a dict of them.
        example: one tensor for each input; a dynamic axis has length 2 or more in it, for torch
            takes an axis of length 1 as fixed.
        path: the file; its folder exists.
        input_names: of the file, in order.
        output_names: of the file, in order.
        dynamic_axes: by input, the symbolic name of each axis that may change, such as
            {"image": {0: "batch"}}. Other axes are fixed at the example's length.
        opset: 13 to 20.

    Raises:
        ModelError: the operator set, the names or the example do not fit; the network cannot be
            captured or translated (the operator or construct and the user's line are named).
    """
    _check_call(example, input_names, dynamic_axes, opset)
    example = [tensor.detach().clone() for tensor in example]
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        if opset in TRACED_OPSETS:
            model = export_traced(
                network,
                example,
                input_names=input_names,
                output_names=output_names,
                dynamic_axes=dynamic_axes,
                opset=opset,
            )
        else:
            with _quiet(), torch.no_grad(), capturable(network):
                program = _capture(network, example, input_names, dynamic_axes)
                model = _translate(program, input_names, output_names, opset)
    finally:
        for module in training:
            module.training = True
    model = _name_axes(model, dynamic_axes)
    del model.metadata_props[:]  # of the exporter: nobody's app reads it
    model = strip(fold_input_scaling(model))
    _check_written(model, input_names, output_names, dynamic_axes, opset=opset)
    save_onnx(model, path)


@functools.cache
def prepare_export() -> None:
    """Load once what the first export of a process loads, before a child is forked that exports."""
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        export_onnx(
            nn.Linear(1, 1),
            [torch.zeros(2, 1)],
            Path(scratch) / "model.onnx",
            input_names=("x",),
            output_names=("y",),
            dynamic_axes={"x": {0: "batch"}},
        )


def _check_call(
    example: Sequence[Tensor], input_names: Sequence[str], dynamic_axes: DynamicAxes, opset: int
) -> None:
    if opset not in OPSETS:
        reason = (
            "TensorRT 10.3 of JetPack 6 reads operator sets up to 20"
            if opset > OPSETS[-1]
            else "INT8 with a scale per channel needs 13 at least"
        )
        raise ModelError(
            f"got opset {opset}, but {reason}; use {OPSETS[0]} to {OPSETS[-1]}, below 18 only for "
            "boards with TensorRT 8"
        )
    if len(example) != len(input_names):
        raise ModelError(
            f"{len(example)} example tensors were given for the inputs {list(input_names)}; "
            "give one for each"
        )
    shapes = {name: tensor.shape for name, tensor in zip(input_names, example, strict=True)}
    for name, axes in dynamic_axes.items():
        if name not in shapes:
            raise ModelError(
                f"dynamic_axes names {name!r} and the inputs are {list(input_names)}; "
                "use the names of the inputs"
            )
        for axis in axes:
            if axis >= len(shapes[name]) or shapes[name][axis] < 2:
                raise ModelError(
                    f"the example for {name!r} has shape {list(shapes[name])} and axis {axis} is "
                    "to be dynamic; give an example of length 2 or more there (a batch of 2)"
                )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the exporter's own output; errors are still raised."""
    loggers = [
        # One line for each operator of torchvision, which edgekd does not use.
        logging.getLogger("torch.onnx._internal.exporter._registration"),
        # "Unable to find user code": the error that follows names the user's line.
        logging.getLogger("torch.fx.experimental.symbolic_shapes"),
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        # torch's own deprecated calls between its parts (LeafSpec and the like).
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", category=category)
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _capture(
    network: nn.Module,
    example: Sequence[Tensor],
    input_names: Sequence[str],
    dynamic_axes: DynamicAxes,
) -> torch.export.ExportedProgram:
    # Shapes go by tensor and not by parameter, so that forward(*inputs) works as well.
    shapes: Any = torch.export.ShapesCollection()  # type: ignore[no-untyped-call]
    for name, tensor in zip(input_names, example, strict=True):
        axes = dynamic_axes.get(name, {})
        shapes[tensor] = dict.fromkeys(axes, torch.export.Dim.DYNAMIC)

    def capture() -> torch.export.ExportedProgram:
        # On an error torch prints half a graph to stderr beside what it raises.
        with contextlib.redirect_stderr(io.StringIO()):
            return torch.export.export(network, tuple(example), dynamic_shapes=shapes, strict=False)

    try:
        return capture()
    except Exception as error:  # user code runs in here: anything may come out
        raise capture_failed(error, input_names, capture) from error


def _translate(
    program: torch.export.ExportedProgram,
    input_names: Sequence[str],
    output_names: Sequence[str],
    opset: int,
) -> ModelProto:
    require("onnxscript", extra="train")
    made = len(program.graph_signature.user_outputs)
    if made != len(output_names):
        raise ModelError(
            f"the network returns {made} tensors, but the outputs {list(output_names)} are "
            "expected; let forward return exactly these, in this order"
        )
    try:
        written: Any = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=opset,
            input_names=list(input_names),
            output_names=list(output_names),
            custom_translation_table={**_pooling(program), **recurrent_translations()},
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise translation_failed(error, opset) from error
    common.DeduplicateInitializersPass(size_limit=SIZE_LIMIT_BYTES)(written.model)
    common.RemoveUnusedNodesPass()(written.model)
    return to_proto(written.model)


def _pooling(program: torch.export.ExportedProgram) -> dict[Any, Any]:
    """Return translations of adaptive pooling, where an ONNX pooling is equal.

    torch decomposes it to a mean and, in channels-last memory (every network that takes pixels
    as [batch, height, width, channels]), an `as_strided` of a dozen nodes, which no runtime
    fuses and no quantizer understands.
    """
    from onnxscript import opset18 as op

    target = torch.ops.aten.adaptive_avg_pool2d.default
    factors: dict[tuple[int, int, int, int], tuple[int, int]] = {}
    for node in program.graph.nodes:
        if node.op == "call_function" and node.target == target:
            height, width = node.args[0].meta["val"].shape[-2:]
            rows, columns = node.args[1]
            if (rows, columns) == (1, 1):
                continue
            if not all(isinstance(n, int) for n in (height, width)):
                return {}
            if height % rows or width % columns:
                return {}
            factors[height, width, rows, columns] = (height // rows, width // columns)

    def adaptive_avg_pool2d(x: Any, output_size: Sequence[int]) -> Any:
        rows, columns = output_size
        if (rows, columns) == (1, 1):
            return op.GlobalAveragePool(x)
        kernel = factors[x.shape[-2], x.shape[-1], rows, columns]
        return op.AveragePool(x, kernel_shape=kernel, strides=kernel)

    return {target: adaptive_avg_pool2d}


def _name_axes(model: ModelProto, dynamic_axes: DynamicAxes) -> ModelProto:
    """Replace torch's symbols (s77) by the given names, in expressions (2*s77) as well."""
    names: dict[str, str] = {}
    for value in model.graph.input:
        for axis, name in dynamic_axes.get(value.name, {}).items():
            symbol = value.type.tensor_type.shape.dim[axis].dim_param
            names.setdefault(symbol, name)
    for dim in messages(model, onnx.TensorShapeProto.Dimension):
        if dim.dim_param:
            dim.dim_param = re.sub(r"\w+", lambda m: names.get(m[0], m[0]), dim.dim_param)
    for value in model.graph.input:
        for axis, name in dynamic_axes.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return model


def _check_written(
    model: ModelProto,
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_axes: DynamicAxes,
    *,
    opset: int,
) -> None:
    found = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if found.get("ai.onnx") != opset:
        raise ModelError(
            f"the exporter wrote opset {found.get('ai.onnx')} instead of {opset}; use "
            f"{found.get('ai.onnx')}"
        )
    inputs, outputs = ([v.name for v in vs] for vs in (model.graph.input, model.graph.output))
    if inputs != list(input_names) or outputs != list(output_names):
        raise ModelError(
            f"the exported file takes {inputs} and gives {outputs}; "
            f"{list(input_names)} and {list(output_names)} were expected"
        )
    for value in model.graph.input:
        for axis, name in dynamic_axes.get(value.name, {}).items():
            if value.type.tensor_type.shape.dim[axis].dim_param != name:
                raise ModelError(f"axis {axis} of input {value.name!r} did not stay dynamic")
    check(model, "the exported graph")

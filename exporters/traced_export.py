"""Operator sets below 18, which boards with TensorRT 8 need, by torch's older exporter.

torch's own translation by torch.export writes operator set 18 at least. The older one records the
operators that one call runs, so a decision in Python that depends on values or shapes is frozen
as the example took it. The parity check after every export finds where that matters.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
import torch
from onnx import ModelProto
from onnx_ir.passes import common
from torch import Tensor, nn

from edgekd.errors import ModelError, one_line
from edgekd.exporters.onnx_files import SIZE_LIMIT_BYTES, apply_passes

TRACED_OPSETS = range(13, 18)
"""From the first with scales per channel (13) to the last before torch.export's (18)."""


def export_traced(
    network: nn.Module,
    example: Sequence[Tensor],
    *,
    input_names: Sequence[str],
    output_names: Sequence[str],
    dynamic_axes: Mapping[str, Mapping[int, str]],
    opset: int,
) -> ModelProto:
    """Return `network`, which is in evaluation mode, as a graph of operator set 13 to 17.

    Args:
        network: takes tensors by position and returns one tensor, a tuple or a dict of them.
        example: one tensor for each input.
        input_names: of the file, in order.
        output_names: of the file, in order.
        dynamic_axes: by input, the symbolic name of each axis that may change.
        opset: one of `TRACED_OPSETS`.

    Raises:
        ModelError: the older exporter has no translation of an operator, or the network cannot be
            recorded.
    """
    written = io.BytesIO()
    try:
        with _prepared():
            torch.onnx.export(
                network,
                tuple(example),
                written,  # type: ignore[arg-type]  # it takes buffers
                dynamo=False,
                opset_version=opset,
                input_names=list(input_names),
                output_names=list(output_names),
                dynamic_axes={name: dict(axes) for name, axes in dynamic_axes.items()},
                training=torch.onnx.TrainingMode.EVAL,
            )
    except Exception as error:  # user code runs in here: anything may come out
        raise ModelError(
            f"opset {opset} was asked for, and torch's exporter for operator sets below 18 cannot "
            f"translate the network ({type(error).__name__}: {one_line(error)[:300]}). Use opset "
            f"18 to 20 if the target reads it (TensorRT 10 does){_newer(opset)}, or replace that "
            "operator in the network"
        ) from error
    model = apply_passes(
        onnx.load_from_string(written.getvalue()),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(size_limit=SIZE_LIMIT_BYTES),
        common.RemoveUnusedNodesPass(),
    )
    return _with_symbols(model, dynamic_axes)


@contextlib.contextmanager
def _prepared() -> Iterator[None]:
    """Let attention be recorded as its parts, and suppress the exporter's own output."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with warnings.catch_warnings(), _silent_stdout(), torch.no_grad():
            # Each line of Python that looks at a shape gets one; the parity check is what decides.
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Drop what C++ prints: on an error torch writes the whole graph beside what it raises."""
    try:
        kept = os.dup(1)
    except OSError:  # there is no stdout
        yield
        return
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _newer(opset: int) -> str:
    last = TRACED_OPSETS[-1]
    return f", {opset + 1} to {last} if it is TensorRT 8.5 or 8.6" if opset < last else ""


def _with_symbols(model: ModelProto, dynamic_axes: Mapping[str, Mapping[int, str]]) -> ModelProto:
    """Return it with inner and outer axes named as the inputs' are.

    The older exporter makes up one name for each axis (`Gemmlogits_dim_0`), also where it is the
    batch; shape inference finds the names again.
    """
    known = {symbol for axes in dynamic_axes.values() for symbol in axes.values()}
    del model.graph.value_info[:]
    for value in model.graph.output:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param and dim.dim_param not in known:
                dim.Clear()
    return onnx.shape_inference.infer_shapes(model, data_prop=True)

"""Files with fixed axes for runtimes of phones, which refuse or slow down at symbolic ones."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from edgekd.artifact import FP32, Variant
from edgekd.benchmarks.feeds import Input, model_inputs
from edgekd.data.dataset import Arrays
from edgekd.errors import ModelError, RecipeError
from edgekd.exporters.onnx_files import load_onnx, save_onnx
from edgekd.exporters.shapes import batch_symbol, fixed_shape
from edgekd.exporters.target import Exported, Source, Target
from edgekd.exporters.target_check import answers, describe_difference, sample_inputs
from edgekd.exporters.variants import TABLE, Row
from edgekd.wording import flag

_PROVIDERS = {
    "qnn": "QNNExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
}


def export_fixed(source: Source, target: str) -> Exported:
    """Return the file for a provider of phones with every axis fixed, checked beside the other.

    The batch and other free axes get their usual length (`--batch`, `--length`).

    Raises:
        ModelError: an axis stays free, or the file does not give the outputs that it had.
        RecipeError: the length of an axis is not given.
    """
    row = _row(target)
    variant, path = _pick(source, row)
    model = load_onnx(path)
    lengths = {symbol: most for symbol, (_, _, most) in source.lengths.items()}
    _refuse_free(path, batch_symbol(model), lengths)
    fixed = fixed_shape(model, source.batch[1], lengths=lengths)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as scratch:
        written = Path(scratch) / f"{path.stem}.fixed.onnx"
        save_onnx(fixed, written)
        entries = model_inputs(written)
        free = [e.name for e in entries if not all(isinstance(n, int) for n in e.shape)]
        if free:
            raise ModelError(f"an axis of the input {free[0]!r} of {path.name} stays free")
        words = _checked(source, path, written, entries, variant)
        data = written.read_bytes()
    name = f"{path.stem}.{target}.onnx"
    shapes = ", ".join(f"{e.name} {e.dtype} {list(e.shape)}" for e in entries)
    note = ""
    if not (variant == row.variant or (variant is None and _is_quantized(model))):
        note = f"\n{row.variant}, which suits {target} best, is not here: edgekd quantize "
        note += f"--variants {row.variant} makes it"
    text = (
        f"{name}: {path.name} with fixed axes{note}\ninputs: {shapes}\ngives the same outputs "
        f"{words}\nprovider: {row.provider} ({row.known}: {row.reason})\n"
    )
    facts = {"file": name, "made_from": path.name, "provider": row.provider, "known": row.known}
    return Exported(text=text, files={name: data}, facts={**facts, "inputs": shapes})


def _row(target: str) -> Row:
    return next(row for row in TABLE if row.provider == _PROVIDERS[target])


def _pick(source: Source, row: Row) -> tuple[Variant | None, Path]:
    """Return the variant for a runtime, else FP32, else the only file there is."""
    for variant in (row.variant, FP32, None):
        if variant in source.files:
            return variant, source.files[variant]
    variant, path = next(iter(source.files.items()))
    return variant, path


def _is_quantized(model: ModelProto) -> bool:
    return any(node.op_type == "QuantizeLinear" for node in model.graph.node)


def _refuse_free(path: Path, batch: str, known: Mapping[str, int]) -> None:
    """Refuse free axes whose length nobody gave.

    Raises:
        RecipeError: there is one.
    """
    for entry in model_inputs(path):
        for axis, symbol in enumerate(entry.shape):
            if isinstance(symbol, int) or symbol in known or symbol == batch or axis == 0:
                continue
            example = flag("length", f"{symbol or 'NAME'}=128")
            raise RecipeError(
                f"axis {axis} of the input {entry.name!r} of {path.name} is free, and a file for "
                f"phones needs its length: {example}"
                f"{'' if symbol else ' (it has no name; give it one in the file)'}"
            )


def _checked(
    source: Source, path: Path, written: Path, entries: Sequence[Input], variant: Variant | None
) -> str:
    inputs = sample_inputs(source, path)
    want = answers(path, inputs)
    got = answers(written, [_fill(one, entries) for one in inputs])
    cut = [
        {n: other[n][tuple(map(slice, a.shape))] if n in other else a for n, a in one.items()}
        for one, other in zip(want, got, strict=True)
    ]
    ok, words = describe_difference(want, cut, variant)
    if not ok:
        raise ModelError(
            f"{path.name} with fixed axes does not give the outputs that it had: {words}"
        )
    return words


def _fill(inputs: Arrays, entries: Sequence[Input]) -> dict[str, NDArray[Any]]:
    """Return inputs at the fixed shapes: repeated along the batch, filled with zeros elsewhere."""
    found = {}
    for entry in entries:
        array = found[entry.name] = np.asarray(inputs[entry.name])
        if not array.ndim:
            continue
        shape = [int(n) for n in entry.shape]
        if len(array) < shape[0]:
            array = np.resize(array, (shape[0], *array.shape[1:]))
        ends = [(0, max(0, want - have)) for want, have in zip(shape, array.shape, strict=True)]
        found[entry.name] = np.pad(array, ends)[tuple(map(slice, shape))]
    return found


FIXED = Target(
    name="qnn, coreml or xnnpack",
    about="a file with fixed axes for that provider of ONNX Runtime on phones",
    takes=lambda text: text in _PROVIDERS,
    export=export_fixed,
)

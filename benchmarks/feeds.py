"""Inputs for a model file: read its input shapes and types, then draw random values.

Random values are good for timing a dense network (its speed does not depend on them) and for
nothing else. Feeds contain, per input, one array with a leading axis of calls.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError, ModelError, RecipeError
from edgekd.wording import flag

if TYPE_CHECKING:
    import onnx

Arrays = dict[str, NDArray[Any]]

IMAGE_SIDE = 224  # of a free height or width
LENGTH = 32  # of any other free axis but that of the batch
_LENGTHS = ("seq", "frame", "time", "len", "token", "step", "word")
LARGEST_ID = 100  # integers stay below it: they are mostly rows of an embedding


@dataclass(frozen=True)
class Input:
    """One input of a graph; an axis is a length, a symbol, or "" if unknown."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]
    batch_axis: int | None = 0
    """The axis that counts samples; None: there is none."""


def model_inputs(model: Path) -> tuple[Input, ...]:
    """Read the inputs of an ONNX file, initializers left out; no weights are read.

    Raises:
        ModelError: it is missing or damaged, its external data is missing or lies outside of the
            model's folder, or an input has no fixed rank or no type that numpy has.
    """
    graph = _load(model).graph
    constant = {tensor.name for tensor in graph.initializer}
    found = [_input(value, model) for value in graph.input if value.name not in constant]
    recurrent = _time_major(graph)
    return tuple(replace(i, batch_axis=_batch_axis(i, i.name in recurrent)) for i in found)


def model_files(model: Path) -> tuple[Path, ...]:
    """Return the file and those with its external data; raises as `model_inputs` does."""
    locations = {
        pair.value
        for tensor in _tensors(_load(model).graph)
        for pair in tensor.external_data
        if tensor.data_location == tensor.EXTERNAL and pair.key == "location"
    }
    return (model, *(model.resolve().parent / location for location in sorted(locations)))


def random_feeds(
    model: Path,
    *,
    inputs: Sequence[Input] | None = None,
    samples: int = 8,
    lengths: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    batch: int = 1,
    seed: int = 0,
) -> Arrays:
    """Draw `samples` calls for each input of `model`.

    Floats are standard normal, bytes uniform, masks one, segment numbers zero and other integers
    below 100. A free batch axis is `batch`, a free height or width 224, any other free axis 32.

    Args:
        model: an ONNX file.
        inputs: its inputs, where some of their free axes have been given a length.
        samples: how many different calls.
        lengths: of free axes, by their symbol.
        shapes: of whole inputs, by name; symbols in them get that length everywhere.
        batch: samples in one call; a file with a fixed first axis takes no other.
        seed: of the generator; equal seeds give equal feeds.

    Raises:
        ModelError: see `model_inputs`.
        RecipeError: a given shape contradicts the file.
    """
    inputs = model_inputs(model) if inputs is None else inputs
    stiff = [i.name for i in inputs if _batch_of(i) not in (batch, None)]
    if batch != 1 and stiff:
        raise RecipeError(
            f"{model} has a fixed batch axis in its input {stiff[0]!r} and cannot take a batch of "
            f"{batch}; export it with a free batch axis, or leave {flag('batch')} out"
        )
    known = dict(lengths or {})
    fixed = {
        item.name: _fixed(item, shapes[item.name], known)
        for item in inputs
        if shapes and item.name in shapes
    }
    generator = np.random.default_rng(seed)
    return {
        item.name: _draw(
            item, (samples, *fixed.get(item.name, _free(item, known, batch))), generator
        )
        for item in inputs
    }


def pick_feeds(file: Path, inputs: Sequence[Input]) -> Arrays:
    """Read those arrays of an .npz that a model takes, and check them against its inputs.

    Raises:
        DataError: unreadable, an input is missing, or an array has another type, rank or length.
    """
    try:
        with np.load(file, allow_pickle=False) as archive:
            wanted = {item.name for item in inputs}
            stored = {name: archive[name] for name in archive.files if name in wanted}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(
            f"the feeds {file} cannot be read ({error}); give an .npz as numpy.savez writes it, "
            "with one array per input and a leading axis of calls"
        ) from error
    faults = [fault for item in inputs for fault in _faults(item, stored.get(item.name))]
    if len({array.shape[:1] for array in stored.values()}) > 1:
        faults.append("the arrays have different numbers of calls")
    if faults:
        raise DataError(
            f"the feeds {file} do not fit the model: {'; '.join(faults)}. Each array needs a "
            "leading axis of calls before the shape of the input"
        )
    return stored


def save_feeds(path: Path, feeds: Mapping[str, NDArray[Any]]) -> None:
    """Write feeds as an .npz. Unlike numpy.savez it takes any input name, `file` too."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in feeds.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _load(model: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        proto = onnx.load(model, format="protobuf", load_external_data=False)
    except OSError as error:
        raise ModelError(
            f"the model {model} cannot be read ({error.strerror}); give the path of an ONNX file"
        ) from error
    except DecodeError as error:
        raise ModelError(_damaged(model, str(error))) from error
    if not proto.ir_version or not proto.graph.output:
        raise ModelError(_damaged(model, "it has no version or no outputs"))
    for tensor in _tensors(proto.graph):
        _check_external(tensor, model)
    return proto


def _damaged(model: Path, why: str) -> str:
    return f"{model} is not an ONNX file, or is damaged ({why}); export or copy it again"


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _check_external(tensor: onnx.TensorProto, model: Path) -> None:
    if tensor.data_location != tensor.EXTERNAL:
        return
    location = next((pair.value for pair in tensor.external_data if pair.key == "location"), "")
    folder = model.resolve().parent
    target = (folder / location).resolve()
    if Path(location).is_absolute() or not target.is_relative_to(folder):
        raise ModelError(
            f"{model} stores the weights {tensor.name!r} in {location!r}, outside its own folder; "
            "this could read any file of this machine, so it is refused. Save the model with its "
            "data file beside it"
        )
    if not target.is_file():
        raise ModelError(
            f"{model} stores weights in {location!r}, which is missing; copy that file beside the "
            "model"
        )


def _input(value: onnx.ValueInfoProto, model: Path) -> Input:
    from onnx import helper

    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        raise ModelError(
            f"the input {value.name!r} of {model} is not a tensor of fixed rank; "
            "export the model with the shapes of its inputs"
        )
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type))
    except (KeyError, TypeError, ValueError):
        dtype = np.dtype(object)
    if dtype.kind not in "fiub":
        raise ModelError(
            f"the input {value.name!r} of {model} has the type {kind.elem_type}, for which no "
            "values can be made; floats, integers or booleans were expected. Move that part out "
            "of the model"
        )
    shape = tuple(
        axis.dim_value if axis.dim_value > 0 else axis.dim_param for axis in kind.shape.dim
    )
    return Input(value.name, dtype, shape)


def _time_major(graph: onnx.GraphProto) -> set[str]:
    """Return what a recurrent layer takes as [time or layers, batch, features]."""
    found = set()
    for node in graph.node:
        layout = next((a.i for a in node.attribute if a.name == "layout"), 0)
        if node.op_type in ("LSTM", "GRU", "RNN") and layout == 0:
            found |= {node.input[0], *node.input[5:7]} - {""}
    return found


def _batch_axis(item: Input, time_major: bool) -> int | None:
    """Return the axis named a batch; else what the layer behind it says; else the first."""
    symbols = [axis.lower() if isinstance(axis, str) else "" for axis in item.shape]
    named = [i for i, s in enumerate(symbols) if "batch" in s or s in ("bs", "b")]
    if named:
        return named[0]
    if time_major:
        return 1
    if not symbols:
        return None
    if not _is_length(symbols[0]):
        return 0
    return 1 if symbols[1:2] == ["n"] else None


def _is_length(symbol: str) -> bool:
    """Whether a symbol is that of a length in time or text, and so not of the batch."""
    return symbol in ("t", "l", "s") or any(word in symbol for word in _LENGTHS)


def _fixed(item: Input, wanted: Sequence[int], known: dict[str, int]) -> tuple[int, ...]:
    """Check a given shape against the file; lengths of symbols are added to `known`."""
    if not _fits(item, wanted):
        raise RecipeError(
            f"the shape {describe(wanted)} for input {item.name!r} does not fit the model, whose "
            f"shape is {describe(item.shape)}; a name or ? is a free axis"
        )
    for axis, length in zip(item.shape, wanted, strict=True):
        if isinstance(axis, str) and axis:
            known.setdefault(axis, length)
    return tuple(wanted)


def _batch_of(item: Input) -> int | None:
    """Return how many samples the file fixes; None: any number."""
    if item.batch_axis is None or item.batch_axis >= len(item.shape):
        return None
    count = item.shape[item.batch_axis]
    return count if isinstance(count, int) else None


def _free(item: Input, known: Mapping[str, int], batch: int) -> tuple[int, ...]:
    lengths = []
    for position, axis in enumerate(item.shape):
        if isinstance(axis, int):
            lengths.append(axis)
        elif axis in known:
            lengths.append(known[axis])
        elif position == item.batch_axis or "batch" in axis.lower():
            lengths.append(batch)
        else:
            lengths.append(default_length(axis))
    return tuple(lengths)


def default_length(symbol: str) -> int:
    """Return the length that a free axis gets where nobody gives one."""
    word = symbol.lower()
    picture = word in ("h", "w") or "height" in word or "width" in word
    return IMAGE_SIDE if picture else LENGTH


def _draw(item: Input, shape: tuple[int, ...], generator: np.random.Generator) -> NDArray[Any]:
    name = item.name.lower()
    if "mask" in name:
        return np.ones(shape, item.dtype)
    if item.dtype.kind == "f":
        return generator.standard_normal(shape).astype(item.dtype)
    if item.dtype.kind == "b":
        return generator.integers(0, 2, shape).astype(item.dtype)
    if item.dtype == np.uint8:
        return generator.integers(0, 256, shape, dtype=np.uint8)
    if "type" in name or "segment" in name:
        return np.zeros(shape, item.dtype)
    return generator.integers(0, LARGEST_ID, shape).astype(item.dtype)


def _faults(item: Input, array: NDArray[Any] | None) -> Iterator[str]:
    if array is None:
        yield f"there is no array {item.name!r}"
    elif array.dtype != item.dtype:
        yield f"{item.name!r} is {array.dtype}, the model takes {item.dtype}"
    elif not array.ndim or not len(array) or not _fits(item, array.shape[1:]):
        yield (
            f"{item.name!r} has the shape {describe(array.shape)}, "
            f"the model takes calls x {describe(item.shape)}"
        )


def _fits(item: Input, shape: Sequence[int]) -> bool:
    return len(shape) == len(item.shape) and all(
        isinstance(axis, str) or axis == length
        for axis, length in zip(item.shape, shape, strict=True)
    )


def describe(shape: Sequence[int | str]) -> str:
    """Write a shape as people do: 1x3x224x224."""
    return "x".join(str(axis) or "?" for axis in shape) or "scalar"

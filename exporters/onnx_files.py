"""Read untrusted ONNX files with care, and write ours without traces of their maker."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import onnx
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, TensorProto

from edgekd.errors import ModelError
from edgekd.store import write_atomic

if TYPE_CHECKING:
    import onnx_ir
    from onnx_ir.passes import InPlacePass

_Kind = TypeVar("_Kind", bound=Message)

SIZE_LIMIT_BYTES = 2**31 - 1
"""The largest message of protobuf, and so the largest ONNX file without external data."""

_HOMES = rb"(?:/home/|/root/|/Users/|/tmp/)[^\x00-\x20\"'<>]*"
_DRIVES = rb"(?<![A-Za-z0-9])[A-Za-z]:\\{1,2}[\w .-]{2,}\\[^\x00-\x20\"'<>]*"
_SOURCES = rb"[\w./\\-]+\.py(?![\w-])"
_LONG_WORD = 5  # letters; a shorter word turns up by chance among the bytes of the weights


def load_onnx(path: Path, *, limit_bytes: int = SIZE_LIMIT_BYTES) -> ModelProto:
    """Read and check an untrusted ONNX file; its weights are loaded into memory.

    Args:
        path: the file. External data is read from its own folder and from nowhere else.
        limit_bytes: largest size of file and external data together, 2 GiB by default.

    Raises:
        ModelError: missing, too large, truncated or not ONNX; external data that is absent, or
            that leaves the folder (the tensor is named); onnx's own checker refuses it.
    """
    if not path.is_file():
        raise ModelError(f"the file {path} does not exist; give the path of an .onnx file")
    size_bytes = path.stat().st_size
    if size_bytes > limit_bytes:
        raise ModelError(
            f"{path} has {size_bytes:,} bytes and edgekd reads at most {limit_bytes:,}; models "
            "for devices are much smaller. Check that this is the right file"
        )
    model = ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelError(
            f"{path} is not a complete ONNX file ({error}); export or copy it again"
        ) from error
    if not model.ir_version or not model.HasField("graph"):
        raise ModelError(
            f"{path} is not an ONNX model: it contains no graph; export or copy it again"
        )
    _read_external(model, path, limit_bytes - size_bytes)
    check(model, str(path))
    return model


def check(model: ModelProto, name: str) -> None:
    """Let onnx's checker judge `model`.

    Raises:
        ModelError: it is not valid; `name` is the file or stage in the message.
    """
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:500]
        raise ModelError(
            f"onnx's checker refuses {name}: {reason}; export it again, or with another opset"
        ) from error


def file_parts(path: Path) -> dict[str, bytes]:
    """Return a file and its external data as they lie in its folder, by their names there.

    Raises:
        ModelError: as `load_onnx`.
    """
    load_onnx(path)  # refuses external data that is absent, or not beside the file
    names = {
        entry.value
        for tensor in messages(onnx.load(path, load_external_data=False), TensorProto)
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return {name: (path.parent / name).read_bytes() for name in [path.name, *sorted(names)]}


def _read_external(model: ModelProto, path: Path, limit_bytes: int) -> None:
    folder = path.resolve().parent
    tensors = [t for t in messages(model, TensorProto) if t.data_location == TensorProto.EXTERNAL]
    total_bytes = 0
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        file = _inside(folder, entries.get("location", ""), tensor.name, path)
        length = entries.get("length", "")
        total_bytes += int(length) if length.isdecimal() else file.stat().st_size
        if total_bytes > limit_bytes:
            raise ModelError(
                f"{path} and its external data are larger than the limit "
                f"(reached at tensor {tensor.name!r}); models for devices are much smaller"
            )
    if not tensors:
        return
    try:
        onnx.load_external_data_for_model(model, str(folder))
    except (onnx.checker.ValidationError, ValueError, OSError) as error:
        raise ModelError(f"external data of {path} cannot be read: {error}") from error


def _inside(folder: Path, location: str, tensor: str, model: Path) -> Path:
    """Return the file of external data, or refuse it: it must lie in the model's own folder."""
    relative = Path(location)
    file = (folder / relative).resolve()
    outside = relative.is_absolute() or ".." in relative.parts or "\\" in location
    if not location or outside or not file.is_relative_to(folder):
        raise ModelError(
            f"tensor {tensor!r} of {model} stores its data in {location!r}, outside the folder of "
            "the model; edgekd reads external data only beside the model: save it as one file"
        )
    if not file.is_file():
        raise ModelError(
            f"tensor {tensor!r} of {model} stores its data in {location!r}, which is missing; "
            "copy that file beside the model, or save the model as one file"
        )
    return file


def save_onnx(model: ModelProto, path: Path) -> None:
    """Write `model` whole or not at all; equal models give equal bytes.

    Raises:
        ModelError: it is larger than one ONNX file can be.
    """
    try:
        data = model.SerializeToString(deterministic=True)
    except (ValueError, DecodeError) as error:
        raise ModelError(f"the model for {path} is larger than 2 GiB: {error}") from error
    write_atomic(path, data)


def messages(message: Message, kind: type[_Kind]) -> Iterator[_Kind]:
    """Yield every message of one kind at or below `message`, subgraphs and functions included.

    Entries inside of a tensor are left out: to list its fields would copy its weights.
    """
    if isinstance(message, kind):
        yield message
    if isinstance(message, TensorProto):
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in [value] if isinstance(value, Message) else value:
                yield from messages(item, kind)


def apply_passes(model: ModelProto, *passes: InPlacePass) -> ModelProto:
    """Return a copy that passes of onnx-ir have tidied.

    onnx-ir 1.1 loses sparse initializers, so a model that has some is returned as it is.
    """
    import onnx_ir

    if any(graph.sparse_initializer for graph in messages(model, GraphProto)):
        return model
    changed = onnx_ir.from_proto(model)
    for tidy in passes:
        tidy(changed)
    return to_proto(changed)


def to_proto(model: onnx_ir.Model) -> ModelProto:
    """Return a model of onnx-ir as a message, without shapes of constants: they repeat."""
    import onnx_ir

    result: ModelProto = onnx_ir.to_proto(model)
    for graph in messages(result, GraphProto):
        constants = {tensor.name for tensor in graph.initializer}
        shapes = [value for value in graph.value_info if value.name not in constants]
        del graph.value_info[:]
        graph.value_info.extend(shapes)
    return result


def names_source(name: str) -> bool:
    """Tell whether a name of a graph is a path or a source file."""
    data = name.encode()
    return any(re.search(pattern, data) for pattern in (_HOMES, _SOURCES, _DRIVES))


def traces(content: Path | bytes, words: Iterable[str] = ()) -> list[str]:
    r"""Return traces of the maker in a file: home folders, drives, .py files, `words`.

    A word (a user name, a working folder) counts where no letter, digit or underscore touches it.
    In an ONNX file the short patterns are sought in names and texts only, for among megabytes of
    weights three bytes such as "C:\" turn up by chance; long ones are sought in every byte.

    Returns:
        Each different find once, sorted, at most 120 characters of it.
    """
    data = content.read_bytes() if isinstance(content, Path) else content
    listed = [word for word in words if word]
    found = set(_finds(data, [_HOMES, *_patterns(w for w in listed if len(w) >= _LONG_WORD)]))
    found |= set(_finds(_texts(data), [_DRIVES, _SOURCES, *_patterns(listed)]))
    return sorted(found)


def _patterns(words: Iterable[str]) -> list[bytes]:
    return [rb"(?<![A-Za-z0-9_])" + re.escape(w.encode()) + rb"(?![A-Za-z0-9_])" for w in words]


def _finds(data: bytes, patterns: Sequence[bytes]) -> Iterator[str]:
    for pattern in patterns:
        for match in re.finditer(pattern, data):
            yield match.group()[:120].decode(errors="replace")


def _texts(data: bytes) -> bytes:
    """Return what a person could read: an ONNX model without its weights, text, or runs of it."""
    model = ModelProto()
    with contextlib.suppress(DecodeError):
        model.ParseFromString(data)
    if model.graph.node:
        for tensor in messages(model, TensorProto):
            for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
                tensor.ClearField(field)
        return bytes(model.SerializeToString(deterministic=True))
    try:
        data.decode()
    except UnicodeDecodeError:
        return b"\n".join(re.findall(rb"[\x20-\x7e]{12,}", data))
    return data

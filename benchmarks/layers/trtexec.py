"""Read what trtexec wrote about an engine (--exportProfile, LayerInfo, Times) as a profile.

Keys as in NVIDIA/TensorRT samples/common/sampleReporting.cpp, tags 8.0 to 11.1. Layer information
contains the precision only where the engine was built with --profilingVerbosity=detailed. The files
are untrusted: whatever does not fit, or contradicts itself, is refused, and nothing is filled in.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from edgekd.benchmarks.layers.nodes import Node, Profile, Tensor
from edgekd.benchmarks.operators import QDQ, Kind
from edgekd.errors import BadInput

MOST_BYTES = 200_000_000
MOST_CALLS = 10**12
MOST_ELEMENTS = 2**60
ROUNDING = 1e-4  # relative; trtexec writes six digits
_FORMATS = {
    "int8": ("int8",),
    "float16": ("fp16", "half"),
    "bfloat16": ("bf16", "bfloat16"),
    "float": ("fp32", "float"),
    "int32": ("int32",),
    "int64": ("int64",),
    "bool": ("bool",),
    "float8": ("fp8",),
    "int4": ("int4",),
}
"""Element type -> the words for it in "Format/Datatype" and, since TensorRT 11, "Datatype"."""


@dataclass(frozen=True)
class Times:
    """Seconds of every query, in order. Host to device, computation, device to host."""

    h2d_s: tuple[float, ...]
    compute_s: tuple[float, ...]
    d2h_s: tuple[float, ...]
    latency_s: tuple[float, ...]


def read_profile(
    profile: Path, *, layers: Path | None = None, times: Path | None = None
) -> Profile:
    """Return what trtexec measured of each layer.

    Args:
        profile: of --exportProfile. Before TensorRT 8.4 it contains means and no medians; then the
            means are taken.
        layers: of --exportLayerInfo; without it, or with names alone, no kind is known but that of
            copies between layouts.
        times: of --exportTimes; the median computation becomes `call_s`.

    Raises:
        BadInput: a file is missing, too large, or not what trtexec writes; the message names the
            place.
    """
    document = _load(profile)
    if not isinstance(document, list) or not document:
        _refuse(profile, "is not a list that begins with a count", "--exportProfile")
    head, *rows = document
    count = head.get("count") if isinstance(head, dict) else None
    if type(count) is not int or not 0 < count < MOST_CALLS or not rows:
        _refuse(profile, "does not begin with a count, or has no layers", "--exportProfile")
    known = {} if layers is None else _layers(layers)
    nodes = tuple(_node(row, count, known, profile) for row in rows)
    if known and not any(node.name in known for node in nodes):
        _refuse(profile, f"names none of the layers in {layers}", "--exportProfile on that engine")
    call_s = None if times is None else statistics.median(read_times(times).compute_s)
    return Profile(nodes=nodes, calls=count, runtime="tensorrt", threads=None, call_s=call_s)


def read_times(path: Path) -> Times:
    """Return the times of --exportTimes. Files of TensorRT 8.4 and before contain the warm-up too.

    Raises:
        BadInput: as `read_profile` does.
    """
    rows = _load(path)
    if not isinstance(rows, list) or not rows:
        _refuse(path, "is not a list of queries", "--exportTimes")
    keys = {"h2d_s": "h2dMs", "compute_s": "computeMs", "d2h_s": "d2hMs", "latency_s": "latencyMs"}
    return Times(
        **{name: tuple(_number(row, key, path) / 1e3 for row in rows) for name, key in keys.items()}
    )


def _node(row: Any, count: int, layers: Mapping[str, Any], path: Path) -> Node:
    name = row.get("name") if isinstance(row, dict) else None
    if not isinstance(name, str):
        _refuse(path, "contains a layer without a name", "--exportProfile")
    average_ms, time_ms = _number(row, "averageMs", path), _number(row, "timeMs", path)
    if not math.isclose(average_ms * count, time_ms, rel_tol=ROUNDING, abs_tol=1e-9):
        _refuse(path, f"is damaged: the times of {name!r} contradict each other", "--exportProfile")
    time_s = _number(row, "medianMs" if "medianMs" in row else "averageMs", path) / 1e3
    layer = layers.get(name)
    if not isinstance(layer, dict):  # names alone
        copies = name.startswith("Reformatting CopyNode")
        return Node(name=name, operator="", kind="layout" if copies else None, time_s=time_s)
    inputs, outputs = _tensors(layer.get("Inputs")), _tensors(layer.get("Outputs"))
    operator = layer.get("LayerType")
    operator = operator if isinstance(operator, str) else ""
    return Node(
        name=name,
        operator=operator,
        kind=_kind(name, operator, layer.get("Origin"), inputs),
        time_s=time_s,
        inputs=inputs,
        outputs=outputs,
    )


def _kind(name: str, operator: str, origin: Any, inputs: tuple[Tensor, ...]) -> Kind | None:
    """Return the kind of a layer: it computes in the type that it reads first.

    A kernel that TensorRT generated around one conversion counts by what it reads as well.
    """
    if operator == "Reformat":
        if origin == "QDQ" or name.startswith(QDQ):
            return "qdq"
        return "layout"
    if operator in ("NoOp", "Constant"):
        return "other"
    if not inputs or not inputs[0].type:
        return None
    return "int8" if inputs[0].type == "int8" else "other"


def _layers(path: Path) -> dict[str, Any]:
    """Return the layers by name: a dict each, or None where only names were written."""
    document = _load(path)
    rows = document.get("Layers") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not rows:
        _refuse(path, "contains no list of layers", "--exportLayerInfo")
    found: dict[str, Any] = {}
    for row in rows:
        name = row.get("Name") if isinstance(row, dict) else row
        if not isinstance(name, str):
            _refuse(path, "contains a layer without a name", "--exportLayerInfo")
        single = isinstance(row, dict) and name not in found
        found[name] = row if single else None  # two of one name are ambiguous
    return found


def _tensors(given: Any) -> tuple[Tensor, ...]:
    return tuple(_tensor(item) for item in given) if isinstance(given, list) else ()


def _tensor(item: Any) -> Tensor:
    """Return a tensor; its type is "" where the words for it are not known."""
    if not isinstance(item, dict):
        return Tensor("", ())
    words = f"{item.get('Datatype', item.get('Format/Datatype', ''))}".lower().split()
    kinds = [kind for kind, names in _FORMATS.items() if any(name in words for name in names)]
    given = item.get("Dimensions")
    shape = tuple(given) if isinstance(given, list) else ()
    if any(type(size) is not int or size < 0 for size in shape) or math.prod(shape) > MOST_ELEMENTS:
        shape = ()  # -1 is a free axis
    return Tensor(kinds[0] if len(kinds) == 1 else "", shape)


def _number(row: Any, key: str, path: Path) -> float:
    value = row.get(key) if isinstance(row, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e300:
        _refuse(path, f"has {str(value)[:40]!r} where {key} should be", "trtexec")
    return float(value)


def _load(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            _refuse(path, f"is larger than {MOST_BYTES / 1e6:.0f} MB", "trtexec")
        return json.loads(path.read_text(encoding="utf8"))
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}; check the path") from error
    except (ValueError, RecursionError):  # no JSON, no UTF-8, numbers of thousands of digits
        _refuse(path, "is not JSON", "trtexec")


def _refuse(path: Path, what: str, wanted: str) -> NoReturn:
    raise BadInput(f"{path} {what}; give the file that {wanted} wrote, whole and unchanged")

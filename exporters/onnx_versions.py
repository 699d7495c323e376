"""Which IR version an ONNX file needs, and the oldest ONNX Runtime that loads it."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import FunctionProto, GraphProto, ModelProto, TensorProto, TypeProto, helper

from edgekd.exporters.onnx_files import messages

_LEAST_IR = 4
"""Before it every weight had to be listed among the inputs."""
_NEWER_TYPES: Mapping[int, int] = {
    **dict.fromkeys(
        (
            TensorProto.FLOAT8E4M3FN,
            TensorProto.FLOAT8E4M3FNUZ,
            TensorProto.FLOAT8E5M2,
            TensorProto.FLOAT8E5M2FNUZ,
        ),
        9,
    ),
    TensorProto.UINT4: 10,
    TensorProto.INT4: 10,
    TensorProto.FLOAT4E2M1: 11,
    TensorProto.FLOAT8E8M0: 12,
}
"""The IR version that came with a number type; the others are older than `_LEAST_IR`."""
_RUNTIMES: Mapping[str, str] = {
    "1.3": "0.2",
    "1.4": "0.3",
    "1.5": "0.4",
    "1.6": "1.0",
    "1.7": "1.3",
    "1.8": "1.6",
    "1.9": "1.8",
    "1.10": "1.9",
    "1.11": "1.11",
    "1.12": "1.12",
    "1.13": "1.14",
    "1.14": "1.15",
    "1.15": "1.17",
    "1.16": "1.18",
}
"""ONNX release -> the first ONNX Runtime that is built with it (onnxruntime.ai/docs/reference/
compatibility.html). Of later releases it is not known here."""


def lowest_ir(model: ModelProto) -> int:
    """Return the lowest IR version that operator sets and contents of `model` allow."""
    known = [entry for entry in model.opset_import if _since(entry.domain, entry.version)]
    found = max(_LEAST_IR, helper.find_min_ir_version_for(known, True) if known else 0)
    if any(graph.sparse_initializer for graph in messages(model, GraphProto)):
        found = max(found, 6)
    functions = list(messages(model, FunctionProto))
    if functions:
        found = max(found, 10 if any(function.overload for function in functions) else 8)
    types = {tensor.data_type for tensor in messages(model, TensorProto)}
    types |= {kind.elem_type for kind in messages(model, TypeProto.Tensor)}
    return max([found, *(_NEWER_TYPES.get(kind, 0) for kind in types)])


def oldest_runtime(model: ModelProto) -> str | None:
    """Return the oldest ONNX Runtime that loads the file, or None where that is not known.

    It reads operator sets and IR versions up to those of the ONNX release that it is built with.
    """
    opset = next((e.version for e in model.opset_import if e.domain in ("", "ai.onnx")), 0)
    for row in helper.VERSION_TABLE:
        release, ir, newest = str(row[0]), int(row[1]), int(row[2])
        name = ".".join(release.split(".")[:2])
        if ir >= model.ir_version and newest >= opset and name in _RUNTIMES:
            return _RUNTIMES[name]
    return None


def drop_unused_imports(model: ModelProto) -> None:
    """Remove operator sets that no node uses; the standard one stays."""
    used = {"", "ai.onnx"} | {node.domain for node in messages(model, onnx.NodeProto)}
    used |= {function.domain for function in messages(model, FunctionProto)}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    if len(kept) < len(model.opset_import):
        del model.opset_import[:]
        model.opset_import.extend(kept)


def _since(domain: str, version: int) -> bool:
    return (domain or "ai.onnx", version) in helper.OP_SET_ID_VERSION_MAP

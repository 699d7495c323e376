"""Build an engine with TensorRT-RTX, which needs no GPU for that.

It is another flavour of TensorRT, with the ONNX rules of TensorRT 11. `docs/tensorrt.md` says what
such a build proves and what not.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto

from edgekd.benchmarks.feeds import model_inputs
from edgekd.benchmarks.trtexec.shapes import Shapes, free_shapes
from edgekd.errors import MissingExtra, one_line
from edgekd.exporters.onnx_files import load_onnx, save_onnx
from edgekd.exporters.tensorrt.layers import EngineLayer, read_layers

EXTRA = "tensorrt-rtx"
BUILD_LIMIT_S = 600.0
CAPABILITY = "SM86"
"""Ampere: the generation of Orin, whose own SM87 TensorRT-RTX does not know."""
_CHILD = Path(__file__).with_name("rtx_child.py")
_NOISE = "cudaError 35"
"""It finds no driver and says so beside every message; to build an engine it needs none."""
_PACKAGES = ("tensorrt_rtx", "tensorrt_rtx_bindings")
_DISTRIBUTIONS = ("tensorrt-rtx", "tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings")


@dataclass(frozen=True, kw_only=True)
class Build:
    """What came of building an engine."""

    version: str
    """Of TensorRT-RTX; "" if it crashed."""
    parsed: bool
    message: str
    """Why there is no engine, in one line; "" if there is one."""
    engine_bytes: int | None
    build_s: float | None
    """Seconds of parsing and building."""
    layers: tuple[EngineLayer, ...]


def missing() -> str:
    """Return why no engine can be built here, in words; "" if one can. Nothing is imported."""
    if any(importlib.util.find_spec(name) for name in _PACKAGES):
        return ""
    return (
        "TensorRT-RTX is not installed; it exists for Linux and Windows on x86-64 processors: "
        f"pip install 'edgekd[{EXTRA}]'"
    )


def installed() -> str:
    """Return the version that is installed; "none", or "unknown". Nothing is imported."""
    if missing():
        return "none"
    for name in _DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "unknown"


def build_engine(
    file: Path,
    *,
    shapes: Mapping[str, Shapes] | None = None,
    capability: str = CAPABILITY,
    limit_s: float = BUILD_LIMIT_S,
) -> Build:
    """Let TensorRT-RTX build an engine of an ONNX file, in a process of its own; it is not kept.

    Args:
        file: is not changed.
        shapes: of inputs with free axes; those of `free_shapes` if left out.
        capability: of the GPU that it is built for: SM80, SM86, SM89, SM120 or SM121.
        limit_s: seconds until the process is ended.

    Raises:
        MissingExtra: TensorRT-RTX is not installed.
        ModelError: the file cannot be read. One that TensorRT refuses is no error: see `message`.
    """
    return build_model(
        load_onnx(file),
        shapes=free_shapes(model_inputs(file)) if shapes is None else shapes,
        capability=capability,
        limit_s=limit_s,
    )


def build_model(
    model: ModelProto,
    *,
    shapes: Mapping[str, Shapes],
    capability: str = CAPABILITY,
    limit_s: float = BUILD_LIMIT_S,
) -> Build:
    """As `build_engine`, of a model in memory."""
    reason = missing()
    if reason:
        raise MissingExtra(reason)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        file, request, result = (
            Path(folder, name) for name in ("m.onnx", "request.json", "result.json")
        )
        save_onnx(model, file)
        wanted = {name: [s.least, s.usual, s.most] for name, s in shapes.items()}
        request.write_text(
            json.dumps({"model": str(file), "capability": capability, "shapes": wanted}), "utf8"
        )
        command = [sys.executable, "-P", str(_CHILD), str(request), str(result)]
        try:
            done = subprocess.run(
                command, capture_output=True, check=False, timeout=limit_s, cwd=folder
            )
        except subprocess.TimeoutExpired:
            return _failed(f"no engine after {limit_s:g} seconds, so it was ended")
        if done.returncode or not result.is_file():
            words = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
            return _failed(f"it ended with code {done.returncode}: {one_line(*words or [''])}")
        return _read(json.loads(result.read_text("utf8")))


def _failed(message: str) -> Build:
    return Build(
        version="",
        parsed=False,
        message=f"TensorRT-RTX: {message}",
        engine_bytes=None,
        build_s=None,
        layers=(),
    )


def _read(found: dict[str, Any]) -> Build:
    return Build(
        version=found["version"],
        parsed=found["parsed"],
        message="" if found["engine_bytes"] is not None else _reason(found),
        engine_bytes=found["engine_bytes"],
        build_s=found["build_s"],
        layers=read_layers(found["layers"]),
    )


def _reason(found: dict[str, Any]) -> str:
    """Say in one line what TensorRT complained of; without a driver it adds noise to each line."""
    texts = [
        f"{fault['operator']} {fault['node']}: {fault['text']}".removeprefix(" ")
        for fault in found["faults"]
    ] or found["log"]
    told = [one_line(text) for text in texts if _NOISE not in text] or texts
    stage = "cannot build an engine" if found["parsed"] else "cannot read the file"
    shown = "; ".join(dict.fromkeys(one_line(text) for text in told))[:600]
    return f"TensorRT-RTX {found['version']} {stage}: {shown or 'it gave no reason'}"

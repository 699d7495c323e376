"""Check a file that a run makes, for the runtime that its variant is for first of all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgekd.artifact import Variant
from edgekd.exporters.lint.cpu import lint_cpu
from edgekd.exporters.lint.finding import Brief, shorten
from edgekd.exporters.lint.float_providers import lint_float_provider
from edgekd.exporters.lint.tensorrt import lint_tensorrt
from edgekd.exporters.lint.tensorrt_operators import OPSETS
from edgekd.exporters.lint.xnnpack import lint_xnnpack
from edgekd.exporters.onnx_files import load_onnx

RUNTIME: Mapping[Variant, str] = {
    "int8-xnnpack": "xnnpack",
    "int8-tensorrt": "tensorrt-10.3",
    "fp16": "cuda",
}
"""Of variants that are not for the CPU first. TensorRT 10.3 is that of JetPack 6."""


def lint_variant(path: Path, variant: Variant) -> Brief:
    """Check one file; no engine is built, so that it takes little longer than to load it.

    Raises:
        ModelError: it cannot be read.
    """
    model = load_onnx(path)
    runtime = RUNTIME.get(variant, "cpu")
    if runtime == "xnnpack":
        return shorten(lint_xnnpack(path, model))
    if runtime == "cuda":
        return shorten(lint_float_provider(path, model, runtime))
    if runtime == "tensorrt-10.3":
        return shorten(lint_tensorrt(path, model, (10, 3), build=False))
    return shorten(lint_cpu(path, model))


def why_refused(path: Path, variant: Variant, found: Brief) -> str:
    """Return why no runtime that a variant is for takes a file; "" if one does.

    One that would load it and compute something else does not take it. For TensorRT its newest
    version is asked, by the rules and by an engine that TensorRT-RTX builds if it is installed.
    What only older versions lack is in the findings.

    Args:
        path: the file.
        variant: of it.
        found: by `lint_variant`.

    Raises:
        ModelError: it cannot be read.
    """
    if variant == "int8-tensorrt":
        found = shorten(lint_tensorrt(path, load_onnx(path), max(OPSETS)))
    errors = [group for group in found.groups if group.weight == "error"]
    return "; ".join(group.reason for group in errors[:2])

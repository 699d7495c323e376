"""Check a file that a run makes, for the runtime that its variant is for first of all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgekd.artifact import Variant
from edgekd.exporters.lint.cpu import lint_cpu
from edgekd.exporters.lint.finding import Brief, shorten
from edgekd.exporters.lint.float_providers import lint_float_provider
from edgekd.exporters.lint.tensorrt import lint_tensorrt
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

"""The table of runtimes: which variant each one needs, and how well that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekd.artifact import FP32, Variant

Known = Literal["run here", "from documentation", "unverified"]


@dataclass(frozen=True)
class Row:
    """The best variant for one runtime and provider."""

    runtime: str
    provider: str
    variant: Variant
    known: Known
    """Whether this project's tests or trials run it, its maker's documentation states it, or
    neither."""
    reason: str
    fixed_shape: bool = False
    """Whether symbolic axes must be fixed first."""
    also: tuple[Variant, ...] = ()
    """Further variants that it runs as they are meant, in the order of preference."""

    @property
    def title(self) -> str:
        """Return the name that people use."""
        return _TITLES.get(self.provider) or _TITLES.get(self.runtime) or self.runtime


_TITLES = {
    "CPUExecutionProvider": "ONNX Runtime on CPUs",
    "XnnpackExecutionProvider": "XNNPACK",
    "CoreMLExecutionProvider": "Core ML",
    "QNNExecutionProvider": "QNN",
    "CUDAExecutionProvider": "CUDA",
    "TensorrtExecutionProvider": "TensorRT",
    "webgpu": "WebGPU",
    "wasm": "WebAssembly",
    "tensorrt": "TensorRT",
    "openvino": "OpenVINO",
}
_DEFAULTS = {"onnxruntime": "CPUExecutionProvider", "openvino": "CPU"}
"""The provider of a runtime where none is named."""


TABLE = (
    Row(
        "onnxruntime",
        "CPUExecutionProvider",
        "int8",
        "run here",
        "its kernels need uint8 activations and int8 weights per channel; with int8 activations "
        "a ResNet-8 was slower than in float32",
        also=("int8-dynamic", "int8-weights", "int4"),
    ),
    Row(
        "onnxruntime-web",
        "wasm",
        "int8",
        "run here",
        "the same kernels as the CPU provider, compiled to WebAssembly",
        also=("int8-dynamic", "int8-weights", "int4"),
    ),
    Row(
        "onnxruntime",
        "XnnpackExecutionProvider",
        "int8-xnnpack",
        "from documentation",
        "XNNPACK needs the same signedness for activations and weights",
    ),
    Row(
        "onnxruntime",
        "CoreMLExecutionProvider",
        "fp16",
        "from documentation",
        "runs float parts only; Q/DQ graphs fall back to the CPU provider",
        fixed_shape=True,
    ),
    Row(
        "onnxruntime",
        "QNNExecutionProvider",
        "int8",
        "from documentation",
        "the NPU needs Q/DQ with uint8 activations and fixed shapes",
        fixed_shape=True,
    ),
    Row(
        "onnxruntime",
        "CUDAExecutionProvider",
        "fp16",
        "from documentation",
        "it has no fused INT8 convolutions; Q/DQ costs time there",
    ),
    Row(
        "onnxruntime",
        "TensorrtExecutionProvider",
        "int8-tensorrt",
        "from documentation",
        "TensorRT needs symmetric int8 and float biases; compare with fp16",
        also=("fp16",),
    ),
    Row(
        "onnxruntime-web",
        "webgpu",
        "fp16",
        "from documentation",
        "it runs float kernels; Q/DQ is computed in float",
    ),
    Row(
        "tensorrt",
        "",
        "int8-tensorrt",
        "from documentation",
        "symmetric int8 and float biases; TensorRT-RTX builds it here, no GPU has run it; compare "
        "with fp16",
        also=("fp16",),
    ),
    Row(
        "openvino",
        "CPU",
        "int8",
        "run here",
        "it multiplies in 8 bits for signed and unsigned Q/DQ alike",
        also=("int8-xnnpack", "int8-weights", "int4"),
    ),
)


def find_home(variant: str, *, runtime: str, provider: str) -> str:
    """Return which runtimes a variant is for, in words, if this one is not among them; or "".

    Args:
        variant: of a file.
        runtime: that a device runs it in.
        provider: of the runtime; "" for its default.
    """
    here = [
        row
        for row in TABLE
        if row.runtime == runtime and row.provider == (provider or _DEFAULTS.get(runtime, ""))
    ]
    wanting = [row for row in TABLE if row.variant == variant]
    wanting = wanting or [row for row in TABLE if variant in row.also]
    if variant == FP32 or not here or not wanting:
        return ""
    if any(variant in (row.variant, *row.also) for row in here):
        return ""
    *some, last = dict.fromkeys(row.title for row in wanting)
    return f"{', '.join(some)} or {last}" if some else last

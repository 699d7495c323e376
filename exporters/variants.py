"""The table of runtimes: which variant each one needs, and how well that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgekd.artifact import Variant

Known = Literal["run here", "from documentation", "unverified"]


@dataclass(frozen=True)
class Row:
    """The best variant for one runtime and provider."""

    runtime: str
    provider: str
    variant: Variant
    known: Known
    """Whether this project's tests run it, a maker's documentation states it, or neither."""
    reason: str
    fixed_shape: bool = False
    """Whether symbolic axes must be fixed first."""


TABLE = (
    Row(
        "onnxruntime",
        "CPUExecutionProvider",
        "int8",
        "run here",
        "its kernels need uint8 activations and int8 weights per channel; with int8 activations "
        "a ResNet-8 was slower than in float32",
    ),
    Row(
        "onnxruntime-web",
        "wasm",
        "int8",
        "unverified",
        "the same kernels as the CPU provider, compiled to WebAssembly",
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
        "symmetric int8 and float biases; compare with fp16",
    ),
    Row(
        "openvino",
        "CPU",
        "int8",
        "unverified",
        "it accepts signed and unsigned Q/DQ activations",
    ),
)

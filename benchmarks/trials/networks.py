"""PyTorch networks as ONNX files, for the trials that train or compare them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from edgekd.exporters.torch_to_onnx import export_onnx


def exported(network: nn.Module, size: int, path: Path) -> Path:
    """Write a network of "pixels" [batch, 3, size, size] to `path`; return it."""
    export_onnx(
        network,
        [torch.rand(2, 3, size, size)],
        path,
        input_names=["pixels"],
        output_names=["logits"],
        dynamic_axes={"pixels": {0: "batch"}},
    )
    return path

"""Three small networks, exported once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekd.exporters.torch_to_onnx import export_onnx


class Block(nn.Module):
    """A residual block with batch norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm(self.conv(x)))


class Pixels(nn.Module):
    """uint8 [batch, height, width, 3] to logits, normalising by itself."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([120.0, 110.0, 100.0]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([60.0, 61.0, 62.0]).view(3, 1, 1))
        stem = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.body = nn.Sequential(stem, nn.BatchNorm2d(width), nn.ReLU6(), Block(width))
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))

    def forward(self, image: Tensor) -> tuple[Tensor]:
        x = (image.permute(0, 3, 1, 2).to(torch.float32) - self.mean) / self.std
        return (self.head(self.body(x)),)


class Words(nn.Module):
    """Tokens and mask int64 [batch, sequence] to logits, through two layers of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(50, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor]:
        x = self.layers(self.tokens(tokens), src_key_padding_mask=mask == 0)
        weight = mask.unsqueeze(-1).to(torch.float32)
        return (self.head((x * weight).sum(1) / weight.sum(1)),)


class Boxes(nn.Module):
    """Two outputs from one map, as a detector gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.boxes, self.scores = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 2, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(image)
        return self.boxes(x).flatten(2) * 640, torch.sigmoid(self.scores(x).flatten(2))


@dataclass(frozen=True)
class Exported:
    """A network, its file, and how it was called."""

    network: nn.Module
    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: tuple[Tensor, ...]

    def answers(self, example: Sequence[Tensor]) -> dict[str, np.ndarray]:
        """Return what the network says, by output."""
        with torch.no_grad():
            said = self.network(*example)
        return {n: y.numpy() for n, y in zip(self.outputs, said, strict=True)}


Export = Callable[..., Exported]


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Return a function that exports a seeded network to a new folder."""

    def exported(
        make: Callable[[], nn.Module],
        example: Sequence[Tensor],
        inputs: Sequence[str],
        outputs: Sequence[str],
        axes: dict[int, str],
    ) -> Exported:
        torch.manual_seed(0)
        network = make().eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):  # else all biases are zeros, and shared
                nn.init.normal_(module.bias)
        path = tmp_path_factory.mktemp("exported") / "model.onnx"
        export_onnx(
            network,
            example,
            path,
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=dict.fromkeys(inputs, axes),
        )
        return Exported(network, path, tuple(inputs), tuple(outputs), tuple(example))

    return exported


@pytest.fixture(scope="session")
def pixels(export: Export) -> Exported:
    example = [torch.randint(0, 255, (2, 16, 16, 3), dtype=torch.uint8)]
    return export(Pixels, example, ["image"], ["logits"], {0: "batch"})


@pytest.fixture(scope="session")
def words(export: Export) -> Exported:
    example = [torch.randint(1, 50, (2, 5)), torch.ones(2, 5, dtype=torch.int64)]
    return export(Words, example, ["tokens", "mask"], ["logits"], {0: "batch", 1: "sequence"})


@pytest.fixture(scope="session")
def boxes(export: Export) -> Exported:
    return export(Boxes, [torch.randn(2, 3, 16, 16)], ["image"], ["boxes", "scores"], {0: "batch"})

"""Networks for small images, sounds and texts, each of another kind of layers.

They are those of the papers, cut to what two cores train in minutes; the ResNets are in
`edgekd.models`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekd.data.downloads import fetch


def _convolution(
    inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution and its batch norm."""
    padding = kernel // 2
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class Gate(nn.Module):
    """Squeeze-and-excite with a hard sigmoid, as in MobileNetV3 (Howard et al. 2019)."""

    def __init__(self, width: int) -> None:
        """Make a gate whose inner width is a quarter."""
        super().__init__()
        self.squeeze = nn.Conv2d(width, width // 4, 1)
        self.excite = nn.Conv2d(width // 4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, width, h, w] to the same shape."""
        pooled = functional.adaptive_avg_pool2d(x, 1)
        weight = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(pooled))))
        return x * weight


class Inverted(nn.Module):
    """Expand, filter each channel, project; a shortcut where the shape stays."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, kernel: int, stride: int, kind: str
    ) -> None:
        """Make a block; `kind` has the activation, "relu6", "relu" or "hswish", and "+se"."""
        super().__init__()
        activation = {"relu6": nn.ReLU6, "relu": nn.ReLU, "hswish": nn.Hardswish}[
            kind.split("+")[0]
        ]
        layers = [*_convolution(inputs, inner, 1), activation()] if inner != inputs else []
        layers += [*_convolution(inner, inner, kernel, stride=stride, groups=inner), activation()]
        layers += [Gate(inner)] if kind.endswith("+se") else []
        layers += _convolution(inner, outputs, 1)
        self.body = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, inputs, h, w] to [batch, outputs, h / stride, w / stride]."""
        out: Tensor = self.body(x)
        return x + out if self.adds else out


def mobilenet_v2(classes: int = 10) -> nn.Sequential:
    """Return MobileNetV2 (Sandler et al. 2018) at half width, for images of 32 pixels."""
    layers: list[nn.Module] = [*_convolution(3, 16), nn.ReLU6()]
    inputs = 16
    for expansion, outputs, count, stride in (
        (1, 8, 1, 1),
        (6, 16, 2, 1),
        (6, 16, 2, 2),
        (6, 32, 3, 2),
        (6, 48, 2, 1),
        (6, 80, 2, 2),
    ):
        for i in range(count):
            step = stride if i == 0 else 1
            layers.append(Inverted(inputs, inputs * expansion, outputs, 3, step, "relu6"))
            inputs = outputs
    layers += [*_convolution(inputs, 640, 1), nn.ReLU6(), *_head(640, classes)]
    return nn.Sequential(*layers)


def mobilenet_v3_small(classes: int = 10) -> nn.Sequential:
    """Return MobileNetV3-small with its gates, for images of 32 pixels: two strides fewer."""
    layers: list[nn.Module] = [*_convolution(3, 16), nn.Hardswish()]
    inputs = 16
    for kernel, inner, outputs, kind, stride in (
        (3, 16, 16, "relu+se", 1),
        (3, 72, 24, "relu", 2),
        (3, 88, 24, "relu", 1),
        (5, 96, 40, "hswish+se", 2),
        (5, 240, 40, "hswish+se", 1),
        (5, 120, 48, "hswish+se", 1),
        (5, 288, 96, "hswish+se", 2),
        (5, 576, 96, "hswish+se", 1),
    ):
        layers.append(Inverted(inputs, inner, outputs, kernel, stride, kind))
        inputs = outputs
    layers += [*_convolution(inputs, 576, 1), nn.Hardswish(), *_head(576, classes)]
    return nn.Sequential(*layers)


def _head(width: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]


class WideBlock(nn.Module):
    """Norm and ReLU before each convolution (He et al. 2016, identity mappings)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Make a block."""
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        changes = stride > 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, inputs, h, w] to [batch, outputs, h / stride, w / stride]."""
        active = functional.relu(self.norm1(x))
        out: Tensor = self.conv2(functional.relu(self.norm2(self.conv1(active))))
        return out + (x if self.shortcut is None else self.shortcut(active))


def wide_resnet(classes: int = 10, *, widths: Sequence[int] = (32, 64, 128)) -> nn.Sequential:
    """Return WRN-16-2 (Zagoruyko and Komodakis 2016)."""
    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 1, 1, bias=False)]
    inputs = 16
    for stage, width in enumerate(widths):
        layers += [WideBlock(inputs, width, 2 if stage else 1), WideBlock(width, width, 1)]
        inputs = width
    layers += [nn.BatchNorm2d(inputs), nn.ReLU(), *_head(inputs, classes)]
    return nn.Sequential(*layers)


class VisionTransformer(nn.Module):
    """A small ViT (Dosovitskiy et al. 2021): patches of 4 pixels, means instead of a token."""

    def __init__(self, classes: int, width: int, depth: int, heads: int) -> None:
        """Make one for images of 32 pixels."""
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.places = nn.Parameter(torch.randn(1, 64, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 3 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.ModuleList(
            nn.TransformerEncoder(layer, depth, enable_nested_tensor=False).layers
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [batch, 3, 32, 32] to logits [batch, classes]."""
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        for layer in self.layers:
            x = layer(x)
        return cast(Tensor, self.head(self.norm(x).mean(dim=1)))


def vision_transformer(classes: int = 10) -> VisionTransformer:
    """Return a ViT of 0.5 million parameters."""
    return VisionTransformer(classes, width=96, depth=6, heads=4)


def sound_network(
    classes: int = 12, *, widths: Sequence[int] = (32, 48, 64, 96, 128)
) -> nn.Sequential:
    """Return a network of 1-D convolutions for [batch, 1, 1024] samples of sound."""
    layers: list[nn.Module] = []
    inputs = 1
    shapes = ((64, 4), (16, 2), (8, 2), (8, 2), (4, 2))
    for outputs, (kernel, stride) in zip(widths, shapes, strict=True):
        conv = nn.Conv1d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        layers += [conv, nn.BatchNorm1d(outputs), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(inputs, classes))


class Minilm(nn.Module):
    """The first layers of all-MiniLM-L6-v2 with a head on the mean of the words."""

    def __init__(self, classes: int, layers: int) -> None:
        """Load the layers from the cache."""
        from transformers import AutoConfig, AutoModel

        super().__init__()
        folder = fetch("minilm-l6")
        settings = AutoConfig.from_pretrained(folder, num_hidden_layers=layers)
        self.body = AutoModel.from_pretrained(folder, config=settings, add_pooling_layer=False)
        self.head = nn.Linear(settings.hidden_size, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map numbers of words and their mask, [batch, length], to logits [batch, classes]."""
        words = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weight = attention_mask[:, :, None].to(words.dtype)
        return cast(Tensor, self.head((words * weight).sum(1) / weight.sum(1).clamp(min=1)))


def minilm(classes: int = 8, *, layers: int = 3) -> Minilm:
    """Return a text network that starts from pretrained layers."""
    return Minilm(classes, layers)


def minilm_whole() -> Minilm:
    """Return all six layers for the classes of R8."""
    return minilm(layers=6)

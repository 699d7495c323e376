"""ResNets for small images: three stages of basic blocks (He et al. 2016, section 4.2).

Where the shape changes, the shortcut is a 1x1 convolution with batch norm (option B), not a
zero-padded slice (option A, as in the paper): slices neither prune nor quantize well. It costs
1 % more parameters: 0.27 million at depth 20 either way.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from edgekd.errors import ModelError


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """Make a block; a stride of 2 halves the image."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()  # empty: the identity
        if stride != 1 or inputs != outputs:
            conv = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut.extend([conv, nn.BatchNorm2d(outputs)])

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, inputs, h, w] to [batch, outputs, h / stride, w / stride]."""
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return functional.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    """A stem, stages of blocks (each after the first halves the image), mean pool, one Linear."""

    def __init__(self, blocks: int, classes: int, channels: int, widths: Sequence[int]) -> None:
        """Make a network with `blocks` blocks in each of len(widths) stages."""
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList()
        inputs = widths[0]
        for stage, width in enumerate(widths):
            layers = []
            for block in range(blocks):
                layers.append(Block(inputs, width, stride=2 if stage and not block else 1))
                inputs = width
            self.stages.append(nn.Sequential(*layers))
        self.fc = nn.Linear(inputs, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images [batch, channels, h, w] to logits [batch, classes]."""
        x = functional.relu(self.bn1(self.conv1(x)))
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


def resnet(
    depth: int = 20, classes: int = 10, channels: int = 3, *, widths: Sequence[int] = (16, 32, 64)
) -> ResNet:
    """Return a ResNet with `depth` = 2 * len(widths) * n + 2 layers for images of `channels`.

    Raises:
        ModelError: the depth does not fit.
    """
    blocks, rest = divmod(depth - 2, 2 * len(widths)) if widths else (0, 0)
    if rest or blocks < 1:
        step = 2 * len(widths)
        raise ModelError(
            f"a ResNet of {len(widths)} stages cannot have depth {depth}: it must be "
            f"{step} n + 2, such as {step + 2} or {3 * step + 2}"
        )
    return ResNet(blocks, classes, channels, widths)


def resnet8(
    classes: int = 10, channels: int = 3, *, widths: Sequence[int] = (16, 32, 64)
) -> ResNet:
    """Return the ResNet-8 of MLPerf Tiny: one block per stage, 78 thousand parameters."""
    return resnet(8, classes, channels, widths=widths)


def resnet20(
    classes: int = 10, channels: int = 3, *, widths: Sequence[int] = (16, 32, 64)
) -> ResNet:
    """Return a ResNet-20: three blocks per stage, 0.27 million parameters."""
    return resnet(20, classes, channels, widths=widths)


def resnet32(
    classes: int = 10, channels: int = 3, *, widths: Sequence[int] = (16, 32, 64)
) -> ResNet:
    """Return a ResNet-32: five blocks per stage, 0.47 million parameters."""
    return resnet(32, classes, channels, widths=widths)


def resnet56(
    classes: int = 10, channels: int = 3, *, widths: Sequence[int] = (16, 32, 64)
) -> ResNet:
    """Return a ResNet-56: nine blocks per stage, 0.86 million parameters."""
    return resnet(56, classes, channels, widths=widths)

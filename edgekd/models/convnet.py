"""A plain stack of convolutions for small images such as MNIST's, as teacher or student."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from edgekd.errors import ModelError


class ConvNet(nn.Module):
    """Stages of 3x3 convolution, batch norm, ReLU; mean pool; one Linear."""

    def __init__(self, widths: Sequence[int], classes: int, channels: int, depth: int) -> None:
        """Make `depth` convolutions per stage, one stage per width."""
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for stage, width in enumerate(widths):
            for layer in range(depth):
                stride = 2 if stage and not layer else 1
                conv = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
                layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [batch, channels, h, w] to logits [batch, classes]."""
        logits: Tensor = self.fc(self.features(x).mean(dim=(2, 3)))
        return logits


def convnet(
    widths: Sequence[int] = (64, 128, 256), classes: int = 10, channels: int = 1, *, depth: int = 2
) -> ConvNet:
    """Return a network of len(widths) stages with `depth` convolutions each.

    Every stage after the first halves the image. The default has 1.1 million parameters and is
    meant as a teacher; `widths=(16, 32, 64), depth=1` has 24 thousand and is meant as a student.

    Raises:
        ModelError: no stage, or a stage without channels or convolutions.
    """
    if not widths or min(widths) < 1 or depth < 1:
        raise ModelError(
            f"got widths {list(widths)} and depth {depth}; "
            "give at least one width, each at least 1, and a depth of at least 1"
        )
    return ConvNet(widths, classes, channels, depth)

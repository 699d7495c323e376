"""Networks by name: builders that return a freshly initialised nn.Module.

A recipe names one as `build = "edgekd.models:resnet20"`, with its keyword arguments as `options`.
"""

from __future__ import annotations

from edgekd.models.cifar import resnet, resnet8, resnet20, resnet32, resnet56
from edgekd.models.convnet import convnet
from edgekd.models.efficientnet import efficientnet_lite0
from edgekd.models.hf_text import hf_text
from edgekd.models.text import text_encoder

__all__ = [
    "convnet",
    "efficientnet_lite0",
    "hf_text",
    "resnet",
    "resnet8",
    "resnet20",
    "resnet32",
    "resnet56",
    "text_encoder",
]

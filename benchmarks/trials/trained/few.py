"""Five thousand pictures of known sets, whose test splits stay whole, and networks for them.

Each network has a plain rival: the same code with narrower layers, at half of the multiplications.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgekd.benchmarks.trials.trained.networks import sound_network
from edgekd.data.dataset import Dataset
from edgekd.data.downloads import fetch, open_known
from edgekd.data.mnist_and_cifar import open_idx
from edgekd.models import convnet, efficientnet_lite0, resnet20
from edgekd.networks.weights import load_weights

SAMPLES = 5000
Parts = Mapping[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]


def _few(dataset: Dataset) -> Parts:
    found = {}
    for part, most in (("train", SAMPLES), ("test", None)):
        numbers = dataset.fixed[part][:most]
        found[part] = (dataset.samples["image"][numbers], dataset.targets["label"][numbers])
    return found


def fashion() -> Parts:
    """Return the first 5,000 pictures of Fashion-MNIST, and all 10,000 of its test."""
    return _few(open_idx(fetch("fashion-mnist"), labels=None))


def photos() -> Parts:
    """Return the first 5,000 pictures of CIFAR-10, and all 10,000 of its test."""
    return _few(open_known("cifar10"))


def digits_teacher() -> nn.Module:
    """Return the teacher of the recipe for digits."""
    return convnet((32, 64, 128, 256), channels=1)


def digits_plain() -> nn.Module:
    """Return the same with 0.7 of the widths."""
    return convnet((24, 48, 88, 176), channels=1)


def fashion_teacher() -> nn.Module:
    """Return a ResNet-20 for grey pictures."""
    return resnet20(channels=1)


def fashion_plain() -> nn.Module:
    """Return the same with 0.7 of the widths."""
    return resnet20(channels=1, widths=(11, 23, 46))


def photos_teacher() -> nn.Module:
    """Return an EfficientNet-Lite0 with ImageNet weights and a new head."""
    network = efficientnet_lite0(10)
    path = next(fetch("efficientnet-lite0").glob("*.pth"))
    load_weights(network, path, replace_head=True)
    return network


def photos_plain() -> nn.Module:
    """Return a ResNet-20 that needs at 32 pixels half of what the Lite0 needs at 64."""
    return resnet20(widths=(10, 20, 40))


def sounds_plain() -> nn.Module:
    """Return the network for sounds with 0.7 of the widths."""
    return sound_network(widths=(24, 32, 44, 68, 92))

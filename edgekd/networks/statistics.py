"""Estimate again what batch norms know of their inputs, after the network was changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def reestimate_statistics(network: nn.Module, inputs: Iterable[tuple[Any, ...]]) -> int:
    """Set the running mean and variance of every batch norm to their means over some batches.

    Without some channels, the inputs of a batch norm have other means and variances than those that
    it was trained with. Each batch counts once, by the statistics with which the norm itself would
    normalise it (the unbiased variance is what torch keeps). Weights stay, and nothing is drawn:
    dropout is off.

    Args:
        network: is changed in place, and left in evaluation mode.
        inputs: arguments of its forward, batch by batch, of two samples or more.

    Returns:
        The number of batch norms that keep statistics.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    network.eval()
    if not norms:
        return 0
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over the batches
        norm.train()
    try:
        with torch.no_grad():
            for batch in inputs:
                network(*batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
    return len(norms)

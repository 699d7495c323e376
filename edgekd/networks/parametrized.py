"""Weights computed from other weights at each call: weight norm, spectral norm and others.

They serve a training. What is pruned, copied and shipped has plain weights, of the same values.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm


def has_computed_weights(network: nn.Module) -> bool:
    """Return whether a layer computes a weight of its own at each call."""
    return any(parametrize.is_parametrized(m) or _old_hooks(m) for m in network.modules())


def make_plain(network: nn.Module) -> nn.Module:
    """Replace computed weights by their values, as they are for inference; in place.

    The network computes the same in evaluation mode. Both ways of torch are known:
    `torch.nn.utils.parametrizations` and the older hooks of `weight_norm` and `spectral_norm`.
    """
    training = network.training
    network.eval()
    with torch.no_grad():
        for module in list(network.modules()):
            for hook in _old_hooks(module):
                if isinstance(hook, WeightNorm):
                    remove_weight_norm(module, hook.name)
                else:
                    remove_spectral_norm(module, hook.name)
            if parametrize.is_parametrized(module):
                for name in list(module.parametrizations):  # type: ignore[arg-type]
                    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return network.train(training)


def _old_hooks(module: nn.Module) -> list[WeightNorm | SpectralNorm]:
    hooks = module._forward_pre_hooks.values()
    return [hook for hook in hooks if isinstance(hook, (WeightNorm, SpectralNorm))]

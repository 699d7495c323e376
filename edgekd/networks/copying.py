"""Copy a network, also one that keeps results of its last run in its attributes."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def copy_network(network: nn.Module) -> nn.Module:
    """Return a deep copy; results that were kept, which torch refuses to copy, are detached."""
    return copy.deepcopy(network, {id(one): one.detach().clone() for one in _kept(network)})


def _kept(network: nn.Module) -> Iterator[Tensor]:
    for module in network.modules():
        for value in vars(module).values():
            for leaf in torch.utils._pytree.tree_leaves(value):
                if isinstance(leaf, Tensor) and not leaf.is_leaf:
                    yield leaf

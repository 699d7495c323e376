"""Take a network out of what wraps it, and copy it, also if it keeps results of its last run."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def unwrap(network: nn.Module) -> nn.Module:
    """Return the network inside of DataParallel, DistributedDataParallel or torch.compile."""
    while True:
        inner = getattr(network, "_orig_mod", None)
        if inner is None and type(network).__name__ in ("DataParallel", "DistributedDataParallel"):
            inner = getattr(network, "module", None)
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def copy_network(network: nn.Module) -> nn.Module:
    """Return a deep copy; results that were kept, which torch refuses to copy, are detached."""
    return copy.deepcopy(network, {id(one): one.detach().clone() for one in _kept(network)})


def _kept(network: nn.Module) -> Iterator[Tensor]:
    for module in network.modules():
        for value in vars(module).values():
            for leaf in torch.utils._pytree.tree_leaves(value):
                if isinstance(leaf, Tensor) and not leaf.is_leaf:
                    yield leaf

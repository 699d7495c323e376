"""An exponential moving average of all weights and statistics of a network in training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def decay_at(step: int, decay: float) -> float:
    """Return the decay of a step, counted from 0: less in the first steps, (1 + n) / (10 + n).

    So the average forgets the weights at the start, as in Polyak averaging of TensorFlow.
    """
    return min(decay, (1 + step) / (10 + step))


class WeightAverage:
    """The average of a network's weights; what is not a floating point number is the last one.

    Statistics of batch norms are averaged like weights, so the average can be evaluated at once.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Begin with the weights as they are; the network must keep its tensors."""
        self._decay = decay
        self._live = {name: value.detach() for name, value in network.state_dict().items()}
        self.state = {name: value.clone() for name, value in self._live.items()}
        self._floating = [n for n, v in self._live.items() if v.dtype.is_floating_point]
        self._others = [name for name in self._live if name not in set(self._floating)]

    def update(self, step: int) -> None:
        """Take in the weights after a step: average += (1 - decay) (weights - average)."""
        means = [self.state[name] for name in self._floating]
        values = [self._live[name] for name in self._floating]
        torch._foreach_lerp_(means, values, 1 - decay_at(step, self._decay))
        for name in self._others:
            self.state[name].copy_(self._live[name])

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on with a stored average."""
        for name, value in self.state.items():
            value.copy_(state[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network have the average while the block runs."""
        kept = {name: value.clone() for name, value in self._live.items()}
        self.give()
        try:
            yield
        finally:
            for name, value in self._live.items():
                value.copy_(kept[name])

    def give(self) -> None:
        """Let the network have the average from now on."""
        for name, value in self._live.items():
            value.copy_(self.state[name])

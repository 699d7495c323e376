"""Signals: the outputs and inner values of a network that a loss compares. Without torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from edgekd.tasks.task import SignalKind

SCALED: frozenset[SignalKind] = frozenset({"classes", "class map", "labels"})
"""Kinds of outputs that are scores, so that a temperature divides them."""


@dataclass(frozen=True)
class Signals:
    """Outputs by the task's names, and inner layers by their path in the network."""

    outputs: Mapping[str, Tensor]
    layers: Mapping[str, Tensor] = field(default_factory=dict)


def divide_scores(signals: Signals, kinds: Mapping[str, SignalKind], temperature: float) -> Signals:
    """Return the signals with their scores divided by a temperature; the rest as it is."""
    if temperature == 1:
        return signals
    outputs = {
        name: tensor / temperature if kinds.get(name) in SCALED else tensor
        for name, tensor in signals.outputs.items()
    }
    return Signals(outputs, signals.layers)


@dataclass(frozen=True)
class Wanted:
    """The signals of one network that are needed."""

    outputs: bool = True
    layers: tuple[str, ...] = ()
    found: bool = False
    """Whether there will be layers that are found when the network is open."""

    @property
    def inner(self) -> bool:
        """Whether it needs inner layers."""
        return self.found or bool(self.layers)

    @property
    def anything(self) -> bool:
        """Whether the network has to run at all."""
        return self.outputs or self.inner


NOTHING = Wanted(outputs=False)


def joined(wanted: Iterable[Wanted]) -> Wanted:
    """Return what covers all of `wanted`; each layer once, in the order of the first mention."""
    several = tuple(wanted)
    layers = dict.fromkeys(layer for one in several for layer in one.layers)
    return Wanted(
        any(one.outputs for one in several), tuple(layers), any(one.found for one in several)
    )

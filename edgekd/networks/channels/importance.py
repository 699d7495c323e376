"""How much the outputs would change without a channel: the importance that decides what goes.

The distillation loss of a network against itself is at its minimum, so that its first derivatives
are zero, and its second-order term is what counts. For soft targets that is the Fisher
information: the mean square of the gradient, where the targets are drawn from the network's own
softened probabilities (Theis et al. 2018, arXiv 1801.05787; it is the squared first-order term of
Molchanov et al. 2019, "Importance Estimation for Neural Network Pruning", with the network's own
answers in place of labels). So no labels are needed, and channels of all layers have one measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekd.networks.channels.graph import Group, Place
from edgekd.networks.edits import output_dimension
from edgekd.tasks.task import SignalKind


def draw_direction(
    output: Tensor, kind: SignalKind, *, temperature: float, generator: torch.Generator
) -> Tensor:
    """Return a random tensor of the output's shape whose covariance is the loss's curvature.

    The product with the output is what is differentiated. For class scores (axis 1 has the classes)
    it is the one-hot of a class drawn from softmax(output / temperature), minus that; the second
    derivative of temperature^2 * KL is the covariance of it. For labels the same with a sigmoid.
    For numbers it is Gaussian noise: their loss is the squared difference. Numbers and labels are
    averaged, so that they are divided by the root of their number.
    """
    z = output.detach().float()
    if kind in ("classes", "class map"):
        rows = z.movedim(1, -1)
        share = torch.softmax(rows / temperature, dim=-1)
        flat = share.reshape(-1, share.shape[-1])
        one = torch.zeros_like(flat)
        one.scatter_(1, torch.multinomial(flat, 1, generator=generator), 1.0)
        found = (one.reshape(share.shape) - share).movedim(-1, 1)
        return found.div(max(1, rows[0, ..., 0].numel()) ** 0.5)  # a map is averaged over pixels
    if kind == "labels":
        share = z.sigmoid()
        found = torch.bernoulli(share, generator=generator) - share
    else:
        found = torch.randn(z.shape, generator=generator)
    return found.div(max(1, z[0].numel()) ** 0.5)


@dataclass(frozen=True)
class _Reader:
    """Which channel of a weight belongs to which unit of a group."""

    place: Place
    index: Tensor
    unit: Tensor


def measure_importance(
    network: nn.Module, groups: Sequence[Group], scalars: Iterable[Tensor]
) -> dict[Group, Tensor]:
    """Return the importance of each unit of each group: float64 [units].

    It is the mean over `scalars` of (sum of weight times gradient)^2. The sum goes over the weights
    that read the unit's channels, in all coupled layers: that is the derivative by a factor on
    these channels, which are removed where it goes from 1 to 0. Channels that no weight reads, such
    as queries and keys, are summed over the weights and biases that write them.

    Args:
        network: every scalar is computed by it, with gradients.
        groups: of `network`.
        scalars: one by one; each is a sum over samples that are independent given the network.
    """
    state = dict(network.named_parameters(remove_duplicate=False))
    modules = dict(network.named_modules())
    readers = {group: _readers(group, modules, state) for group in groups}
    names = sorted({reader.place[0] for own in readers.values() for reader in own})
    totals = {group: torch.zeros(len(group.units), dtype=torch.float64) for group in groups}
    count = 0
    for scalar in scalars:
        grads = torch.autograd.grad(
            scalar, [state[name] for name in names], retain_graph=True, allow_unused=True
        )
        terms = {
            name: state[name].detach().double() * grad.double()
            for name, grad in zip(names, grads, strict=True)
            if grad is not None
        }
        sums = _sums_by_place(terms, readers)
        for group, total in totals.items():
            first = torch.zeros_like(total)
            for reader in readers[group]:
                if reader.place in sums:
                    first.index_add_(0, reader.unit, sums[reader.place][reader.index])
            total += first.square()
        count += 1
    return {group: total / max(1, count) for group, total in totals.items()}


def _sums_by_place(
    terms: Mapping[str, Tensor], readers: Mapping[Group, Sequence[_Reader]]
) -> dict[Place, Tensor]:
    found: dict[Place, Tensor] = {}
    for place in {reader.place for own in readers.values() for reader in own}:
        name, dim = place
        if name in terms:
            found[place] = (
                terms[name].transpose(0, dim).flatten(1).sum(1)
                if terms[name].ndim > 1
                else terms[name]
            )
    return found


def _readers(
    group: Group, modules: Mapping[str, nn.Module], state: Mapping[str, nn.Parameter]
) -> tuple[_Reader, ...]:
    def all_of(*, reading: bool) -> tuple[_Reader, ...]:
        found = []
        for place in group.units[0].places:
            name, dim = place
            path, _, leaf = name.rpartition(".")
            reads = leaf == "weight" and dim != output_dimension(modules[path], leaf)
            if name not in state or not state[name].is_floating_point() or reading != reads:
                continue
            index = [i for unit in group.units for i in unit.places[place]]
            each = [number for number, unit in enumerate(group.units) for _ in unit.places[place]]
            found.append(_Reader(place, torch.tensor(index), torch.tensor(each)))
        return tuple(found)

    return all_of(reading=True) or all_of(reading=False)

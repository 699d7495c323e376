"""What a channel means for the outputs, against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from edgekd.networks.channels.cut import find_removable
from edgekd.networks.channels.graph import Group
from edgekd.networks.channels.importance import draw_direction, measure_importance
from edgekd.networks.channels.widths import choose_removed, next_step
from edgekd.tasks.task import SignalKind


def groups_of(network: nn.Module, x: Tensor, *, multiple: int = 1) -> tuple[Group, ...]:
    return find_removable(network, (x,), multiple=multiple).groups


def two_layers() -> nn.Sequential:
    """x -> (x, 2 x, 3 x, 4 x) -> one output, with weights 1, -1, 0, 0.5."""
    network = nn.Sequential(nn.Linear(1, 4, bias=False), nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        network.get_parameter("0.weight").copy_(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
        network.get_parameter("1.weight").copy_(torch.tensor([[1.0, -1.0, 0.0, 0.5]]))
    return network


def test_it_is_the_mean_square_of_what_a_factor_on_the_channel_changes() -> None:
    network = two_layers()
    groups = groups_of(network, torch.tensor([[1.0], [2.0]]))
    scalars = [network(torch.tensor([[x]])).sum() for x in (1.0, 3.0)]
    (found,) = measure_importance(network, groups, scalars).values()
    # the output is x - 2 x + 0 + 2 x; for x = 1 and x = 3, squared: 1 and 9, 4 and 36, 0, 4 and 36
    assert found.tolist() == pytest.approx([5.0, 20.0, 0.0, 20.0])


def test_the_weights_of_all_coupled_layers_count_together() -> None:
    """A residual stream: what reads it are a branch and the head."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.branch = nn.Linear(1, 2, bias=False), nn.Linear(2, 2, bias=False)
            self.head = nn.Linear(2, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            stream = self.enter(x)
            answer: Tensor = self.head(stream + self.branch(stream))
            return answer

    network = Residual()
    with torch.no_grad():
        network.enter.weight.copy_(torch.tensor([[1.0], [2.0]]))
        network.branch.weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0]]))
        network.head.weight.copy_(torch.tensor([[1.0, 10.0]]))
    groups = groups_of(network, torch.tensor([[1.0], [2.0]]))
    (found,) = measure_importance(network, groups, [network(torch.ones(1, 1)).sum()]).values()
    # the stream is (1, 2), the branch adds (1, 3). Head: 1 * 2 and 10 * 5.
    # Branch, from channel 0: 1 * 1 + 10 * 1 * 1, from channel 1: 0 + 10 * 1 * 2
    assert found.tolist() == pytest.approx([(2.0 + 11.0) ** 2, (50.0 + 20.0) ** 2])


def test_half_of_it_is_the_loss_of_removing_a_channel_that_does_little() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4))
    with torch.no_grad():
        network.get_parameter("2.weight")[:, :4] *= 0.01
    x = torch.randn(64, 3)
    groups = groups_of(network, x)
    generator = torch.Generator().manual_seed(1)
    scalars = []
    for _ in range(60):
        for part in (x[i : i + 8] for i in range(0, 64, 8)):
            logits = network(part)
            way = draw_direction(logits, "classes", temperature=2.0, generator=generator)
            scalars.append((logits * way).sum() / 8**0.5)  # so that a square is a mean over samples
    (found,) = measure_importance(network, groups, scalars).values()
    with torch.no_grad():
        whole = (network(x) / 2).log_softmax(1)
        for channel in range(4):
            kept = network.get_parameter("2.weight")[:, channel].clone()
            network.get_parameter("2.weight")[:, channel] = 0
            less = (network(x) / 2).log_softmax(1)
            network.get_parameter("2.weight")[:, channel] = kept
            loss = 4 * float((whole.exp() * (whole - less)).sum(1).mean())  # temperature 2
            assert float(found[channel]) / 2 == pytest.approx(loss, rel=0.3)
    assert found[:4].max() < found[4:].min()


@pytest.mark.parametrize("kind", ["classes", "labels", "values"])
def test_directions_have_the_curvature_of_the_loss(kind: SignalKind) -> None:
    z = torch.tensor([[0.0, 2.0, -1.0]])
    generator = torch.Generator().manual_seed(0)
    many = draw_direction(
        z.expand(20_000, 3),
        kind,
        temperature=2.0,
        generator=generator,
    )
    covariance = many.T @ many / len(many)
    if kind == "classes":
        p = torch.softmax(z[0] / 2, 0)
        expected = torch.diag(p) - p[:, None] * p
    elif kind == "labels":
        p = torch.sigmoid(z[0])
        expected = torch.diag(p * (1 - p)) / 3
    else:
        expected = torch.eye(3) / 3
    torch.testing.assert_close(covariance, expected, rtol=0, atol=0.015)


def test_a_map_counts_as_the_mean_over_its_pixels() -> None:
    z = torch.zeros(5_000, 2, 2, 2)
    generator = torch.Generator().manual_seed(0)
    found = draw_direction(z, "class map", temperature=1.0, generator=generator)
    assert found.shape == z.shape
    assert float(found.sum(1).abs().max()) < 1e-6
    assert float(found.square().mean()) == pytest.approx(0.25 / 4, rel=0.05)


def test_that_channel_goes_which_costs_least_for_what_it_saves() -> None:
    """Layers 2 -> 4 -> 4 -> 1: a channel of the first saves 2 + 4, one of the second 4 + 1."""
    network = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 4), nn.Linear(4, 1))
    first, second = groups_of(network, torch.randn(2, 2))
    importance = {
        first: torch.tensor([6.0, 60.0, 12.0, 60.0]),
        second: torch.tensor([9.0, 4, 90, 90]),
    }
    sizes = {name: tuple(p.shape) for name, p in network.named_parameters()}
    macs = {name: float(math.prod(sizes[name])) for name in sizes if name.endswith("weight")}

    def gone(removed: float) -> list[list[int]]:
        found = choose_removed(
            importance,
            macs=macs,
            sizes=sizes,
            removed=removed,
            multiple=1,
            least=dict.fromkeys(importance, 1.0),
        )
        return [[first.units.index(u) for u in found.get(first, ())],
                [second.units.index(u) for u in found.get(second, ())]]  # fmt: skip

    # prices: 6 / 6 against 4 / 5, so the second loses its channel 1
    assert gone(1.0) == [[], [1]]
    assert gone(5.0) == [[], [1]]
    # a channel of the first now saves 2 + 3: 6 / 5; one of the second 9 / 5
    assert gone(6.5) == [[0], [1]]
    # where less is enough, the one whose return is possible comes back: the first alone saves 6
    assert gone(5.5) == [[0], []]
    # next: 12 / 5 against 9 / (3 + 1)
    assert gone(10.5) == [[0], [1, 0]]
    # and so on, to a quarter of each width
    assert [len(units) for units in gone(1e9)] == [3, 3]


@pytest.mark.parametrize(
    ("width", "gone", "least", "step"),
    [(32, 0, 0.25, 8), (30, 0, 0.25, 6), (30, 6, 0.25, 8), (16, 8, 0.25, 0), (8, 0, 0.25, 0),
     (40, 24, 0.25, 0), (40, 16, 0.25, 8), (64, 0, 0.95, 0)],
)  # fmt: skip
def test_widths_go_down_to_the_next_multiple(
    width: int, gone: int, least: float, step: int
) -> None:
    network = nn.Sequential(nn.Linear(1, width), nn.Linear(width, 1))
    (group,) = groups_of(network, torch.randn(2, 1))
    assert next_step(group, gone, multiple=8, least=least * width) == step

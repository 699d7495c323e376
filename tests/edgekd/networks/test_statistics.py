"""Batch statistics are estimated again: against the same worked out by hand."""

from __future__ import annotations

import torch
from torch import nn

from edgekd.networks.statistics import reestimate_statistics


def test_they_are_the_means_over_batches_of_what_the_norm_sees() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.9), nn.BatchNorm1d(1, momentum=0.01))
    norm = network[2]
    with torch.no_grad():
        network.get_parameter("0.weight").fill_(2.0)
        network.get_parameter("0.bias").fill_(1.0)
        network.get_buffer("2.running_mean").fill_(50.0)
    batches = [(torch.tensor([[0.0], [1.0], [2.0]]),), (torch.tensor([[3.0], [5.0]]),)]
    assert reestimate_statistics(network.train(), batches) == 1
    # 1, 3, 5 have mean 3 and variance 4; 7, 11 have mean 9 and variance 8
    torch.testing.assert_close(norm.running_mean, torch.tensor([6.0]))
    torch.testing.assert_close(norm.running_var, torch.tensor([6.0]))
    assert norm.momentum == 0.01
    assert not network.training


def test_a_second_norm_sees_what_the_first_gives_by_the_batch() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    x = torch.randn(8, 2) * 3 + 1
    reestimate_statistics(network, [(x,)])
    inner = (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + 1e-5)
    torch.testing.assert_close(network[0].running_mean, x.mean(0))
    torch.testing.assert_close(network[0].running_var, x.var(0))
    torch.testing.assert_close(network[1].running_mean, inner.mean(0))
    torch.testing.assert_close(network[1].running_var, inner.var(0))


def test_networks_without_statistics_stay_as_they_are() -> None:
    network = nn.Sequential(
        nn.Linear(2, 2), nn.LayerNorm(2), nn.BatchNorm1d(2, track_running_stats=False)
    )
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert reestimate_statistics(network, [(torch.randn(4, 2),)]) == 0
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_weights_and_gradients_stay() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    reestimate_statistics(network, [(torch.randn(4, 2),)])
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None
        assert parameter.requires_grad

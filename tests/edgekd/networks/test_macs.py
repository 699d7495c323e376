"""Multiplications are counted call by call, and for each weight."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edgekd.models import resnet8, text_encoder
from edgekd.networks.macs import count_macs


class Net(nn.Module):
    """A convolution of 3 x 3 from 2 to 4 channels on 8 x 8, then a matrix of 4 x 5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(4, 5)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        features: Tensor = self.norm(self.conv(inputs["x"])).mean((2, 3))
        answers: Tensor = self.head(self.drop(features))
        return answers


X = {"x": torch.ones(3, 2, 8, 8)}
CONV, HEAD = 3 * 4 * 64 * 2 * 9, 3 * 4 * 5


def test_multiplications_are_counted_layer_by_layer() -> None:
    found = count_macs(Net(), X)
    assert list(found.each) == [CONV, HEAD]
    assert found.by_weight == {"conv.weight": CONV, "head.weight": HEAD}
    assert found.total == CONV + HEAD


def test_a_weight_that_is_read_in_parts_counts_all_of_them() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).train()
    x = torch.randn(1, 5, 8)
    found = count_macs(attention, x, x, x)
    assert found.by_weight == {"in_proj_weight": 3 * 5 * 64, "out_proj.weight": 5 * 64}
    assert found.total == 4 * 5 * 64 + 2 * 5 * 5 * 8  # and queries with keys, shares with values


def test_what_no_weight_reads_is_in_the_total_alone() -> None:
    network = text_encoder(20, 3, width=8, heads=2)
    tokens = torch.ones(1, 6, dtype=torch.int64)
    found = count_macs(network, tokens, torch.ones_like(tokens))
    assert found.total - sum(found.by_weight.values()) == 2 * len(network.layers) * 6 * 6 * 8


def test_counting_changes_neither_statistics_nor_random_numbers() -> None:
    network = Net()
    state = torch.random.get_rng_state()
    count_macs(network, X)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(network.norm.running_mean, torch.zeros(4))  # type: ignore[arg-type]


def test_all_multiplications_of_a_resnet_have_a_weight() -> None:
    found = count_macs(resnet8(), torch.zeros(1, 3, 32, 32))
    assert found.total == sum(found.by_weight.values()) == 12_501_632

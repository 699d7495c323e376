"""Small networks are trained by one thread, whatever the machine has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor, nn

from edgekd.training.threads import LEAST_MACS, choose_threads


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


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("mean_macs", "threads"), [(0.99 * LEAST_MACS, 1), (1.01 * LEAST_MACS, 2)])
def test_the_mean_layer_of_a_batch_decides(mean_macs: float, threads: int) -> None:
    size = round(mean_macs / ((CONV + HEAD) / 2 / 3))
    with choose_threads(Net(), X, size=size) as count:
        assert count == torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_network_without_products_is_small_too() -> None:
    with choose_threads(nn.Identity(), X, size=64) as count:
        assert count == 1
